"""The images of the node with those who use them, and how one of them is removed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from longshore.errors import BadImage, HostBusy, ImageInUse, InvalidRequest, LongshoreError
from longshore.lifecycle.holds import Holds
from longshore.lifecycle.naming import called
from longshore.lifecycle.ports import Images, Journal
from longshore.lifecycle.pulls import Pulls
from longshore.model.host import Image
from longshore.model.status import ImageStatus
from longshore.model.usage import USED, meant, used_key, users

LOG = logging.getLogger(__name__)

#: Seconds that a removal waits for one who just looks at the image, or saves it.
_PATIENCE = 10.0


@dataclass(frozen=True)
class Unused:
    """An image that nobody uses: all names of one digest, and when it was last used, or came."""

    digest: str
    names: tuple[str, ...]
    keys: frozenset[str]
    since: float


class Shelf:
    """Thread-safe.

    Args:
        seen: names that `Admission` takes for here; those that go are removed from it.
    """

    def __init__(
        self, images: Images, journal: Journal, pulls: Pulls, holds: Holds, seen: set[str]
    ) -> None:
        self._images = images
        self._seen = seen
        self._pulls = pulls
        self._journal = journal
        self._holds = holds
        # Two that remove one name each could together remove the last one.
        self._removing = threading.Lock()

    def list(self) -> Sequence[ImageStatus]:
        """All that has a name, by name; what cannot be used has the size 0."""
        return self.status(self._all())

    def status(self, images: Sequence[Image]) -> Sequence[ImageStatus]:
        """The images as callers see them."""
        needed = users(self._journal.list())
        used_at = self._used_at(image.digest for image in images)
        return [
            ImageStatus(
                name=image.name,
                digest=image.digest,
                size=image.size,
                created_at=image.created_at,
                used_by=_needing(needed, image.digest, image.name),
                used_at=used_at.get(image.digest),
            )
            for image in images
        ]

    def unused(self) -> Sequence[Unused]:
        """What no container uses, that which was so for longest first."""
        needed = users(self._journal.list())
        by_digest: dict[str, list[Image]] = {}
        for image in self._all():
            by_digest.setdefault(image.digest, []).append(image)
        used_at = self._used_at(by_digest)
        found = [
            Unused(
                digest,
                tuple(image.name for image in images),
                frozenset({digest, *(image.key for image in images)}),
                max(used_at.get(digest, 0.0), *(image.created_at for image in images)),
            )
            for digest, images in by_digest.items()
            if needed.keys().isdisjoint({digest, *(image.name for image in images)})
        ]
        return sorted(found, key=lambda one: (one.since, one.digest))

    def remove(self, name: str, patience: float = _PATIENCE) -> ImageStatus:
        """Removes one name of an image.

        Args:
            name: canonical; one with a digest also means the one name in its repository that the
                image has instead.

        Raises:
            ImageNotFound: there is none.
            InvalidRequest: by this digest it has several names.
            ImageInUse: it is the last name of an image that containers use.
            HostBusy: somebody looks at it just now.
        """
        with self._removing:
            name = self._own_name(name)
            with self._holds.removing(name, patience) as free:
                if not free:
                    raise HostBusy(
                        f"cannot remove image {name}: somebody is just about to use it",
                        object=name,
                        hint="try again in a moment",
                    )
                status = self._remove(self._find(name))
        LOG.info("image %s (%s) was removed", name, status.digest)
        return status

    def clear(self, unused: Unused) -> Sequence[str]:
        """Removes what is said to be unused, unless that is no longer true, or it is being pulled;
        returns the names."""
        busy = {one for name in self._pulls.names() for one in meant(name)} | self._pulls.keys()
        if not unused.keys.isdisjoint(busy) or not set(unused.names).isdisjoint(busy):
            return []
        removed = []
        for name in unused.names:
            try:
                self.remove(name, 0.0)
            except LongshoreError as error:
                LOG.debug("%s", error)
                continue
            removed.append(name)
        return removed

    def collect(self) -> int:
        """Removes content that nothing needs; returns how many bytes became free.

        Raises:
            HostBusy: content comes all the time that nobody is known to need.
        """
        with self._holds.collecting(_PATIENCE) as free:
            if not free:
                raise HostBusy(
                    "cannot collect what no image needs: an image is just being made",
                    hint="try again in a moment",
                )
            return self._images.collect(self._pulls.keys())

    def tidy(self) -> None:
        """Forgets when images were used that are not here any more."""
        with self._journal.transaction(durable=False) as tx:
            noted = tx.recalled(USED)
        # Looked at only then: one that has come meanwhile is not among those noted.
        here = {used_key(image.digest) for image in self._all()} if noted else set()
        gone = [key for key in noted if key not in here]
        if gone:
            with self._journal.transaction(durable=False) as tx:
                for key in gone:
                    tx.remember(key, None)

    def _remove(self, image: Image) -> ImageStatus:
        name = image.name
        (status,) = self.status([image])
        last = all(other.digest != image.digest or other.name == name for other in self._all())
        needed = users(self._journal.list())
        containers = _needing(needed, name, *([image.digest] if last else ()))
        if containers:
            raise _in_use(name, containers)
        self._images.remove(name)
        for seen in self._seen.copy():
            if called(image, seen):
                self._seen.discard(seen)
        if last:
            with self._journal.transaction(durable=False) as tx:
                tx.remember(used_key(image.digest), None)
        return status

    def _own_name(self, name: str) -> str:
        if self._find(name).name == name:
            return name
        own = sorted(image.name for image in self._all() if called(image, name))
        if len(own) > 1:
            raise InvalidRequest(
                f"cannot remove image {name}: here it is called {', '.join(own)}",
                field="name",
                object=name,
                hint="remove these, one by one",
            )
        return own[0] if own else name

    def _find(self, name: str) -> Image:
        try:
            return self._images.get(name)
        except BadImage:
            for image in self._images.broken():
                if called(image, name):
                    return image
            raise

    def _all(self) -> Sequence[Image]:
        found = {image.name: image for image in (*self._images.broken(), *self._images.list())}
        return [image for _, image in sorted(found.items())]

    def _used_at(self, digests: Iterable[str]) -> dict[str, float]:
        with self._journal.transaction(durable=False) as tx:
            found = {digest: tx.recall(used_key(digest)) for digest in digests}
        return {digest: float(at) for digest, at in found.items() if at is not None}


def _needing(needed: Mapping[str, tuple[str, ...]], *ways: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for way in ways for one in needed.get(way, ())))


def _in_use(name: str, containers: Sequence[str]) -> ImageInUse:
    shown = ", ".join(containers[:5]) + (
        f" and {len(containers) - 5} more" if len(containers) > 5 else ""
    )
    noun = "container" if len(containers) == 1 else "containers"
    return ImageInUse(
        f"cannot remove image {name}: {noun} {shown} {'uses' if noun == 'container' else 'use'} it",
        object=name,
        hint="delete the containers first",
        details={"containers": list(containers)},
    )
