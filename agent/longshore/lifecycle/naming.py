"""What images are called: as callers write it, and when a name moves to another image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from longshore.errors import BadImage, ImageNotFound, InvalidRequest, LongshoreError
from longshore.lifecycle.holds import Holds
from longshore.lifecycle.pipeline import attempt
from longshore.lifecycle.ports import Images
from longshore.model import reference
from longshore.model.host import Image


def named(text: str, field: str = "name") -> str:
    """The canonical name.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        return reference.canonical(text)
    except ValueError as error:
        raise InvalidRequest(
            f"cannot use the image name {text!r}: {error}", field=field, object=text
        ) from error


def own_name(text: str, field: str = "name") -> str:
    """The canonical name, for one that the caller gives to an image.

    Raises:
        InvalidRequest: it is none, or one that says more than a caller can know.
    """
    name = named(text, field)
    if reference.is_glance(name) or reference.parse(name).digest is not None:
        why = "Glance gives these itself" if reference.is_glance(name) else "a digest is not chosen"
        raise InvalidRequest(
            f"cannot name an image {name}: {why}",
            field=field,
            object=name,
            hint="use [REGISTRY/]NAME[:TAG]",
        )
    return name


def find(images: Images, name: str) -> Image | None:
    """The image of that name, None if it is not here or not whole."""
    try:
        return images.get(name)
    except (ImageNotFound, BadImage):
        return None


def keep(images: Images, name: str, target: str | None = None) -> str | None:
    """Before `name` moves: the image that has it gets a second name, `REPOSITORY@DIGEST`.

    Otherwise containerd would soon take its content, from under creates that have just seen it
    and containers that may be committed. It goes like all others, when nobody uses it.

    Args:
        target: digest of the image that gets the name, if known.

    Returns:
        The second name if it was given here.
    """
    there = find(images, name)
    if there is None or there.digest == target or reference.is_glance(name):
        return None
    second = f"{reference.parse(name).repository}@{there.digest}"
    # By its digest an image is also found where it came by another name: by this one, say.
    named_so = find(images, second)
    if second == name or (named_so is not None and named_so.name == second):
        return None
    try:
        images.tag(name, second)
    except ImageNotFound:
        return None  # Only its name is left.
    return second


@contextmanager
def kept(images: Images, targets: Mapping[str, str | None]) -> Iterator[None]:
    """`keep` for all names, each with its new target's digest, if known; what was kept for names
    that then do not move is taken back."""
    seconds: list[str | None] = []
    try:
        for name, target in targets.items():
            seconds.append(keep(images, name, target))
        yield
    except LongshoreError:
        for second in filter(None, seconds):
            attempt(f"take back the name {second}", images.remove, second)
        raise


@contextmanager
def holding(images: Images, holds: Holds, names: Sequence[str]) -> Iterator[Sequence[Image]]:
    """Images of these (canonical) names, which nobody removes for the body.

    Raises:
        ImageNotFound, BadImage: as `Images.get`.
    """
    with holds.hold(*names):
        found = [images.get(name) for name in names]
        # By its digest an image is found by another name, which was not held yet.
        others = {image.name for image in found} - set(names)
        with holds.hold(*others):
            yield [images.get(image.name) for image in found] if others else found


def called(image: Image, name: str) -> bool:
    """Whether the (canonical) name means this image: it is its own, or one that has its digest and
    its repository."""
    if name == image.name or reference.is_glance(name) or reference.is_glance(image.name):
        return name == image.name
    wanted = reference.parse(name)
    if wanted.digest != image.digest:
        return False
    try:
        return wanted.repository == reference.parse(image.name).repository
    except ValueError:
        return False  # Somebody else named it.
