"""What was promised: the journal, and what a transaction on it can do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from longshore.model.filters import EVERYTHING, Filter
from longshore.model.record import Record
from longshore.model.requested import Requested
from longshore.model.running import Running
from longshore.model.story import Told
from longshore.model.versions import Version
from longshore.model.volume import Volume


class Transaction(Protocol):
    """Reads and writes of the journal that happen together or not at all."""

    def get(self, id: str) -> Record | None: ...

    def find(self, ref: str) -> str:
        """As `Journal.find`."""

    def put(self, record: Record, asked: str = "") -> None:
        """Adds to its story what is different now. `asked`: the verb that it is written for, and by
        whom."""

    def forget(self, id: str, last: Record | None = None) -> None:
        """Removes the record, its versions and its claims; what was asked about it stays, and its
        story. `last`: how it was last, for those who ask what became of it."""

    def claims(self, kind: str) -> Mapping[str, str]:
        """Key → the container that holds it."""

    def promised(self, resource: str) -> float:
        """How much of it all containers together hold."""

    def promise(self, resource: str, amount: float, id: str) -> None:
        """`id` holds so much of it, in place of what it held; given back with its claims."""

    def promises(self, id: str) -> Mapping[str, float]:
        """Resource → how much of it `id` holds."""

    def version(self, id: str, number: int) -> Version | None: ...

    def versions(self, id: str) -> Sequence[Version]:
        """Of a container, oldest first. Those that there were before its first update it has
        not."""

    def put_version(self, id: str, version: Version, needed: Collection[int] = ()) -> None:
        """In place of one with its number. Of the others the newest stay, and those `needed`."""

    def volumes(self) -> Mapping[str, Volume]: ...

    def put_volume(self, volume: Volume) -> None: ...

    def forget_volume(self, name: str) -> None: ...

    def claim(self, kind: str, key: str, id: str) -> str | None:
        """Returns None once `id` holds it, or the container that holds it instead."""

    def give_back(self, kind: str, key: str, id: str) -> None:
        """One claim of `id`; one that it does not hold is fine."""

    def release(self, id: str) -> None:
        """All that it holds."""

    def requested(self, id: str) -> Requested | None: ...

    def unanswered(self, container: str) -> Sequence[Requested]: ...

    def last_generation(self, container: str) -> int:
        """The newest that was asked for and is still remembered; 0 if none."""

    def ask(self, requested: Requested) -> None:
        """Notes a request, or asks a noted one again with a new generation."""

    def answer(self, id: str, outcome: Mapping[str, Any]) -> None: ...

    def remember(self, key: str, value: str | None) -> None:
        """None: forgets it."""

    def recall(self, key: str) -> str | None: ...

    def recalled(self, beginning: str) -> Sequence[str]:
        """The keys of what is remembered that begin so."""

    def prune_requests(self, before: float) -> int:
        """Forgets requests asked before that time, but for open ones whose container is there;
        returns how many."""

    def prune_stories(self, before: float) -> None:
        """Forgets those of containers that were gone before that time."""


class Journal(Protocol):
    def transaction(self, *, durable: bool) -> AbstractContextManager[Transaction]:
        """Commits at the end, rolls back when the body raises. `durable`: on the disk by then."""

    def get(self, id: str) -> Record | None: ...

    def list(self, filter: Filter = EVERYTHING) -> Sequence[Record]:
        """Oldest first, unless it says otherwise. Raises ContainerNotFound as `filters.select`."""

    def running(self) -> Sequence[Running]:
        """Those that have processes. Costs less than `list`."""

    def ids(self) -> set[str]: ...

    def find(self, ref: str) -> str:
        """The id that a name, an id, or the beginning of one means. Raises ContainerNotFound."""

    def requested(self, id: str) -> Requested | None: ...

    def story(self, ref: str) -> Told:
        """Of one that `find` finds, or else that is gone. Raises ContainerNotFound."""

    def promised(self, resource: str) -> float:
        """How much of it all containers together hold."""
