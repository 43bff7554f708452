"""The verbs for images: each checks what callers may do, and leaves the work to the store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Protocol

from longshore.errors import ContainerNotFound, ImageNotFound
from longshore.lifecycle import ports
from longshore.lifecycle.converge import Converge
from longshore.lifecycle.flights import Interest
from longshore.lifecycle.holds import Holds
from longshore.lifecycle.naming import holding, keep, kept, named, own_name
from longshore.lifecycle.pipeline import attempt
from longshore.lifecycle.pulls import Pulls
from longshore.lifecycle.shelf import Shelf
from longshore.model.commit import Commit
from longshore.model.inside import check_inside
from longshore.model.record import Record
from longshore.model.state import State
from longshore.model.status import ImageDetail, ImageStatus, PruneStatus, TransferStatus
from longshore.model.transfer import Auth, PullPolicy

LOG = logging.getLogger(__name__)

#: Seconds between two looks at a transfer, for those who want to see how it goes.
_PACE = 0.25


class File(Protocol):
    def write(self, data: bytes, /) -> int: ...


class Images:
    """Args:
    new_archive: opens a new file beneath the archive roots, which is there only if all was written.
    soon: has a container settled in the background.
    """

    def __init__(
        self,
        host: ports.Host,
        journal: ports.Journal,
        converge: Converge,
        pulls: Pulls,
        shelf: Shelf,
        holds: Holds,
        new_archive: Callable[[Path], AbstractContextManager[File]],
        soon: Callable[[str], None],
    ) -> None:
        self._host = host
        self._store = host.images
        self._journal = journal
        self._converge = converge
        self._pulls = pulls
        self._shelf = shelf
        self._holds = holds
        self._new_archive = new_archive
        self._soon = soon

    def list(self) -> Sequence[ImageStatus]:
        return self._shelf.list()

    def show(self, name: str) -> ImageDetail:
        name = named(name)
        detail = self._store.detail(name)
        (status,) = self._shelf.status([self._store.get(name)])
        return detail.model_copy(update={"used_by": status.used_by, "used_at": status.used_at})

    def load(self, archive: Path) -> Sequence[ImageStatus]:
        # Its content needs no hold: no other lease than its own is asked for it.
        return self._shelf.status(self._store.load(archive, partial(kept, self._store)))

    def pull(
        self, name: str, policy: PullPolicy, auth: Auth
    ) -> Generator[TransferStatus, None, ImageStatus]:
        def join(wake: Callable[[], None]) -> Interest:
            return self._pulls.join(name, policy, auth, wake)

        interest = yield from _followed(join)
        (status,) = self._shelf.status([interest.image()])
        return status

    def prefetch(self, name: str, policy: PullPolicy, auth: Auth) -> TransferStatus:
        return self._pulls.prefetch(name, policy, auth)

    def push(
        self, name: str, to: str, auth: Auth
    ) -> Generator[TransferStatus, None, TransferStatus]:
        def join(wake: Callable[[], None]) -> Interest:
            return self._pulls.push(name, to, auth, wake)

        with holding(self._store, self._holds, [named(name)]):
            interest = yield from _followed(join)
        interest.check()
        return interest.status()

    def tag(self, name: str, new: str) -> ImageStatus:
        name, new = named(name), own_name(new, "new")
        with holding(self._store, self._holds, [name]) as (image,):
            keep(self._store, new, image.digest)
            (status,) = self._shelf.status([self._store.tag(image.name, new)])
        return status

    def remove(self, name: str) -> ImageStatus:
        return self._shelf.remove(named(name))

    def prune(self, *, all: bool = False) -> PruneStatus:
        removed: list[str] = []
        for unused in self._shelf.unused() if all else ():
            removed += self._shelf.clear(unused)
        return PruneStatus(images=tuple(sorted(removed)), bytes=self._shelf.collect())

    def save(self, names: Sequence[str]) -> Iterator[bytes]:
        asked = list(dict.fromkeys(named(name, f"names[{i}]") for i, name in enumerate(names)))
        for name in asked:
            self._store.get(name)  # Before the first piece: half an archive is no answer.
        return self._saved(asked)

    def save_to(self, names: Sequence[str], archive: Path) -> None:
        pieces = self.save(names)
        with self._new_archive(archive) as file:
            for piece in pieces:
                file.write(piece)

    def commit(self, ref: str, name: str, change: Commit) -> ImageStatus:
        """Its container is nobody else's meanwhile: a stop or a delete waits for the end."""
        name, id = own_name(name), self._journal.find(ref)
        # One that is being created may hold on to itself for as long as its image is pulled.
        _check_whole(ref, self._journal.get(id))
        with self._converge.alone(id):
            record = _check_whole(ref, self._journal.get(id))
            base = record.facts.image
            assert base is not None
            pause = change.pause and record.state is State.RUNNING
            freeze = self._paused(record) if pause else nullcontext()
            with freeze, kept(self._store, {name: None}):
                image = self._store.commit(record.names, base, name, change)
        LOG.info("container %s: committed to image %s (%s)", id, image.name, image.digest)
        (status,) = self._shelf.status([image])
        return status

    @contextmanager
    def _paused(self, record: Record) -> Iterator[None]:
        # Before it is so, and on the disk: a next life must know that it was us.
        self._note_paused(record.id, paused=True)
        try:
            self._host.tasks.pause(record.names)
            yield
        finally:
            error = attempt("resume", self._resume, record)
            if error is not None:
                LOG.warning("container %s: stays paused for now: %s", record.id, error)
                self._soon(record.id)

    def _resume(self, record: Record) -> None:
        self._host.tasks.resume(record.names)
        self._note_paused(record.id, paused=False)

    def _note_paused(self, id: str, *, paused: bool) -> None:
        with self._journal.transaction(durable=paused) as tx:
            current = tx.get(id)
            if current is not None:
                tx.put(current.but(paused=paused))

    def _saved(self, names: Sequence[str]) -> Iterator[bytes]:
        with holding(self._store, self._holds, names):
            yield from self._store.save(names)


def _followed(
    join: Callable[[Callable[[], None]], Interest],
) -> Generator[TransferStatus, None, Interest]:
    """Tells how it goes until it is done; whoever closes it leaves."""
    ended = threading.Event()
    interest = join(ended.set)
    try:
        while not interest.done:
            yield interest.status()
            ended.wait(_PACE)
        return interest
    finally:
        interest.leave()


def _check_whole(ref: str, record: Record | None) -> Record:
    if record is None:
        raise ContainerNotFound(f"cannot find container {ref}: it is gone", object=ref)
    check_inside("commit", record.name, record.state)
    if record.facts.image is None:
        raise ImageNotFound(
            f"cannot commit container {record.name}: its image is not known", object=record.name
        )
    return record
