"""Files of containers, taken out, brought in and compared with the image's.

Of a container that runs nobody is kept from anything meanwhile: what the copy sees, and where it
writes, is the container's own business. One that does not run is not started as long as something
is copied into it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longshore.errors import Conflict, ContainerNotFound
from longshore.lifecycle.converge import Converge
from longshore.lifecycle.ports import Host, Journal, Transaction
from longshore.lifecycle.ports.copying import Copies
from longshore.lifecycle.slots import Slots
from longshore.model.anonymous import with_anonymous
from longshore.model.copying import Files, Unpacking
from longshore.model.host import TaskStatus
from longshore.model.inside import check_inside, refusal
from longshore.model.record import Record
from longshore.model.requested import Requested, fingerprint
from longshore.model.status import Difference, PathStatus

LOG = logging.getLogger(__name__)
_RUNS = frozenset({TaskStatus.RUNNING, TaskStatus.PAUSED})


def _slots() -> Slots:
    return Slots(lambda id: None)


@dataclass(frozen=True)
class Copying:
    """The verbs. `now`: Unix seconds."""

    host: Host
    journal: Journal
    converge: Converge
    copies: Copies
    now: Callable[[], float]
    #: Who holds a request's place carries it out.
    _requests: Slots = field(default_factory=_slots)

    def copy_out(
        self, ref: str, path: str, *, follow_link: bool = False
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        """What is at `path`, and a tar of it. Nothing waits for it, and it for nobody.

        Raises:
            IllegalTransition: it has no files now.
            PathNotFound, Conflict, HostFailed and its children: as `Copies.read`.
        """
        record = self._there(self.journal.find(ref), "copy_out", ref)
        files = self._files(record)
        try:
            return self.copies.read(files, path, follow_link=follow_link)
        except Conflict:
            record = self._there(record.id, "copy_out", ref)
            again = self._files(record)
            if again.runs or not files.runs:
                raise
            # It has ended in this moment.
            return self.copies.read(again, path, follow_link=follow_link)

    def copy_in(
        self, request_id: str, ref: str, path: str, tar: Path, *, archive: bool, replace: bool
    ) -> int:
        """Unpacks a tar in folder `path`; returns how many entries it had. The same request
        with the same tar is answered with that; one that was never answered is done again.

        Raises:
            IllegalTransition: it has no files now.
            InvalidRequest: the tar is refused, and nothing was written.
            Exhausted: its disk is full; what was written until then stays.
            RequestConflict: something else was asked for under this id.
            PathNotFound, Conflict, HostFailed and its children: as `Copies.write`.
        """
        arguments = {"path": path, "archive": archive, "replace": replace, "ref": ref}
        asked = _Asked(request_id, {**arguments, "tar": self.copies.digest(tar)})
        with self._requests.hold(request_id):
            with self.journal.transaction(durable=False) as tx:
                done = asked.answer(tx)
            if done is not None:
                return done
            id = self.journal.find(ref)
            entries = self._written(id, ref, path, tar, archive=archive, replace=replace)
            with self.journal.transaction(durable=True) as tx:
                asked.note(tx, id, entries, self.now())
        LOG.info("container %s: %d entries were copied to %s", id, entries, path)
        return entries

    def diff(self, ref: str) -> Sequence[Difference]:
        """What its own layer has beside its image's, by path.

        Raises:
            IllegalTransition: it has no files now.
            DeadlineExceeded, Exhausted, HostFailed: as `Copies.differences`.
        """
        record = self._there(self.journal.find(ref), "diff", ref)
        image = record.facts.image
        assert image is not None
        return self.copies.differences(record.names, image.chain_id, record.facts.ids)

    def _written(
        self, id: str, ref: str, path: str, tar: Path, *, archive: bool, replace: bool
    ) -> int:
        record = self._there(id, "copy_in", ref)
        runs = self._files(record).runs
        alone: AbstractContextManager[None] = nullcontext() if runs else self.converge.alone(id)
        with alone:
            record = self._there(id, "copy_in", ref)
            files = self._files(record)
            if not files.runs and runs:
                raise Conflict(
                    f"cannot copy to container {record.name}: it has just ended",
                    object=record.name,
                    hint="ask again: its files are there as long as it is",
                )
            owner = None if archive else self._owner(record)
            return self.copies.write(files, path, tar, Unpacking(owner, replace))

    def _owner(self, record: Record) -> Any:
        if record.facts.user is not None:
            return record.facts.user
        assert record.facts.image is not None
        user = record.spec.user or record.facts.image.config.user
        return self.host.rootfs.user(record.names, user, record.spec.groups)

    def _there(self, id: str, verb: str, ref: str) -> Record:
        record = self.journal.get(id)
        if record is None:
            raise ContainerNotFound(f"cannot find container {ref}: there is none", object=ref)
        check_inside(verb, record.name, record.state)
        if record.facts.image is None:
            raise refusal(verb, record.name, record.state, "it has no image yet")
        return record

    def _files(self, record: Record) -> Files:
        image = record.facts.image
        return Files(
            record.names,
            record.name,
            self.host.tasks.get(record.names).status in _RUNS,
            with_anonymous(record.spec.mounts, image.config.volumes if image else (), record.id),
            record.facts.ids,
            record.spec.security.read_only_rootfs,
        )


@dataclass(frozen=True)
class _Asked:
    """A request to copy. Its answer is in the journal beside the others."""

    id: str
    arguments: Mapping[str, Any]

    def answer(self, tx: Transaction) -> int | None:
        """Raises RequestConflict."""
        noted = tx.requested(self.id)
        if noted is None:
            return None
        noted.check_same(_VERB, noted.container, self.arguments)
        if noted.outcome is None:
            return None
        return int(noted.outcome["entries"])

    def note(self, tx: Transaction, container: str, entries: int, now: float) -> None:
        asked = fingerprint(_VERB, self.arguments)
        tx.ask(Requested(self.id, container, _VERB, asked, 0, now))
        tx.answer(self.id, {"entries": entries})


_VERB = "copy_in"
