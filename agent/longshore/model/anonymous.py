"""Anonymous volumes: folders whose content is the container's own and goes with it. An image
declares some, and a request may ask for more. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from longshore.errors import BadImage
from longshore.model.mounts import Borrowed, Mount, NamedVolume
from longshore.model.places import why_not, within

#: Files that are the node's in every container.
_NODE = frozenset({"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"})


@dataclass(frozen=True)
class Anonymous:
    """`number` among those of its container. `is_filled`: it begins with what the image has at
    `path`."""

    number: int
    path: str
    is_filled: bool = True


def anonymous_volumes(volumes: Sequence[str], mounts: Sequence[Mount]) -> tuple[Anonymous, ...]:
    """Each of the image's volumes that no mount of the spec covers, at the same place or above, and
    then each that the spec asks for.

    Args:
        volumes: `ImageConfig.volumes`; the first numbers count these.

    Raises:
        BadImage: one of the image's is where no volume can be.
    """
    own = tuple(_own(volumes, mounts))
    for one in own:
        _check(one.path)
    return (*own, *_asked(len(volumes), mounts).values())


def with_anonymous(
    mounts: Sequence[Mount], volumes: Sequence[str], container: str
) -> tuple[Mount, ...]:
    """All that is bound into a container: the mounts of its spec, and then the image's anonymous
    volumes; those and the ones that the spec asks for as if it had borrowed them from itself.
    """
    asked = _asked(len(volumes), mounts)
    return (
        *(
            Borrowed(
                container=container,
                index=asked[index].number,
                target=mount.target,
                read_only=mount.read_only,
            )
            if isinstance(mount, NamedVolume) and index in asked
            else mount
            for index, mount in enumerate(mounts)
        ),
        *(
            Borrowed(container=container, index=one.number, target=one.path)
            for one in _own(volumes, mounts)
        ),
    )


def is_covered(path: str, mounts: Sequence[Mount]) -> bool:
    """Whether a mount of the spec is at `path` or above it."""
    return any(within(path, mount.target) for mount in mounts)


def _own(volumes: Sequence[str], mounts: Sequence[Mount]) -> Iterator[Anonymous]:
    return (
        Anonymous(number, path)
        for number, path in enumerate(volumes)
        if not is_covered(path, mounts)
    )


def _asked(first: int, mounts: Sequence[Mount]) -> dict[int, Anonymous]:
    """By their index among the mounts. Those of volumes_from come behind: they change no number."""
    return {
        index: Anonymous(first + index, mount.target, mount.copy_image)
        for index, mount in enumerate(mounts)
        if isinstance(mount, NamedVolume) and mount.name is None
    }


def _check(path: str) -> None:
    why = "which is the node's" if path in _NODE else None
    if why is None and (cannot := why_not(path)) is not None:
        why = f"and a volume {cannot}"
    if why is not None:
        raise BadImage(
            f"cannot use the image: config.Volumes has {path}, {why}",
            field="config.Volumes",
            object=path,
        )
