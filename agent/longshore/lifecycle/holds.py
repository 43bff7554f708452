"""What somebody is about to use, though nothing on the node says so yet."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

#: Stands for all content that nothing refers to yet; no image has this name.
_CONTENT = ""


class Holds:
    """Between a look at an image and the record that needs it, nobody removes its name; nor is
    content collected that somebody has begun to bring and nobody knows of.

    Who holds a name that is just being removed waits for the end of that: what he then finds is
    the truth.
    """

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._held: Counter[str] = Counter()
        self._going: set[str] = set()

    @contextmanager
    def hold(self, *names: str) -> Iterator[None]:
        with self._news:
            self._news.wait_for(lambda: self._going.isdisjoint(names))
            self._held.update(names)
        try:
            yield
        finally:
            with self._news:
                self._held.subtract(names)
                self._held += Counter()  # without those that nobody holds any more
                self._news.notify_all()

    @contextmanager
    def removing(self, name: str, patience: float) -> Iterator[bool]:
        """Whether nobody holds it, after up to `patience` seconds; then nobody can until the end.

        One name is removed by one at a time; the caller sees to that.
        """
        with self._news:
            free = self._news.wait_for(lambda: not self._held[name], patience)
            if free:
                self._going.add(name)
        try:
            yield free
        finally:
            with self._news:
                if free:
                    self._going.discard(name)
                    self._news.notify_all()

    def bringing(self) -> AbstractContextManager[None]:
        """Until it is known what is being brought. Not for what has a lease that nobody takes for
        abandoned: a load, a commit."""
        return self.hold(_CONTENT)

    def collecting(self, patience: float) -> AbstractContextManager[bool]:
        """Like `removing`, for all that nobody is known to need."""
        return self.removing(_CONTENT, patience)
