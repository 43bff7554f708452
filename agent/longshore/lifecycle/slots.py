"""One lock per container, or volume, and a bell at it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Slot:
    """`bell` rings when its process ended or a newer intent came: who waits looks again.

    `news`: whether an intent came since the one that is being carried out was read. It spares
    the look into the journal between two steps.
    `again`: somebody found it held and went away; who holds it has it looked at again.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    bell: threading.Event = field(default_factory=threading.Event)
    news: bool = False
    again: bool = False
    users: int = 0


class Slots:
    """Slots exist while somebody holds or waits for them: nothing grows with what was deleted.

    Args:
        again: called with the id of a container that somebody found held, once it is free.
    """

    def __init__(self, again: Callable[[str], None]) -> None:
        self._again = again
        self._guard = threading.Lock()
        self._slots: dict[str, Slot] = {}

    @contextmanager
    def hold(self, id: str) -> Iterator[Slot]:
        """Waits for whoever holds it."""
        with self._using(id) as slot:
            slot.lock.acquire()
            with self._releasing(id, slot):
                yield slot

    @contextmanager
    def hold_if_free(self, id: str) -> Iterator[Slot | None]:
        """None if it is held: one stuck container must not hold up those who see to all."""
        with self._using(id) as slot:
            with self._guard:
                mine = slot.lock.acquire(blocking=False)
                slot.again |= not mine
            if not mine:
                yield None
                return
            with self._releasing(id, slot):
                yield slot

    def ring(self, id: str, *, news: bool = False) -> None:
        with self._guard:
            slot = self._slots.get(id)
        if slot is not None:
            slot.news |= news
            slot.bell.set()

    @contextmanager
    def _using(self, id: str) -> Iterator[Slot]:
        with self._guard:
            slot = self._slots.setdefault(id, Slot())
            slot.users += 1
        try:
            yield slot
        finally:
            with self._guard:
                slot.users -= 1
                if slot.users == 0:
                    del self._slots[id]

    @contextmanager
    def _releasing(self, id: str, slot: Slot) -> Iterator[None]:
        try:
            yield
        finally:
            with self._guard:
                slot.lock.release()
                again, slot.again = slot.again, False
            if again:
                self._again(id)
