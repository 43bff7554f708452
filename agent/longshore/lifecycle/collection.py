"""Room for images: when their disk is full, those that nobody uses go, the longest unused first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longshore.errors import LongshoreError
from longshore.lifecycle.shelf import Shelf
from longshore.model.node import Space


@dataclass(frozen=True)
class Watermarks:
    """Percent of the disk in use: above `high` images are removed, until it is `low`.

    `min_age`: seconds for which an image is kept after it came, or was last used.
    """

    high: int
    low: int
    min_age: float


class Collection:
    """Args:
    space: of the disk that images are on.
    now: Unix seconds.
    """

    def __init__(
        self,
        shelf: Shelf,
        marks: Watermarks,
        space: Callable[[], Space],
        now: Callable[[], float],
    ) -> None:
        self._shelf = shelf
        self._marks = marks
        self._space = space
        self._now = now

    def run(self) -> Sequence[str]:
        """Makes room if there is too little; returns what it removed and why, a sentence each.

        What nobody needs goes first. While that cannot be collected no image is removed either: it
        would lose its names, and nobody would have any room of it.
        """
        self._shelf.tidy()
        if self._space().percent <= self._marks.high:
            return ()
        self._shelf.collect()
        percent = self._space().percent
        if percent <= self._marks.high:
            return ()
        said = []
        for unused in self._shelf.unused():
            idle = self._now() - unused.since
            if idle < self._marks.min_age:
                break
            names = self._shelf.clear(unused)
            if not names:
                continue
            said.append(
                f"removed image {', '.join(names)}: its disk is {percent:.0f} % full, and no "
                f"container has needed it for {idle / 3600:.1f} hours"
            )
            try:
                self._shelf.collect()
            except LongshoreError as error:
                return [*said, f"could not make more room for images: {error}"]
            percent = self._space().percent
            if percent <= self._marks.low:
                return said
        if percent > self._marks.high:
            said.append(
                f"the disk of the images is {percent:.0f} % full, and all that are left are in use "
                "or too young to be removed"
            )
        return said
