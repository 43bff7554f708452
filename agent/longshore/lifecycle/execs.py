"""Commands in a running container, and what its own process reads and writes.

A command is run once, whoever asks again: its request is in the journal before it begins, and what
came of it after. In between an agent that dies knows only that it was begun, and says so.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from longshore import errors
from longshore.errors import Conflict, HostBusy, InvalidRequest, LongshoreError
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.ports import Journal, Tasks, Transaction
from longshore.lifecycle.ports.execs import Console, Consoles, Execs
from longshore.lifecycle.slots import Slots
from longshore.model.execs import Attachment, Command, Output, Session
from longshore.model.inside import check_inside
from longshore.model.linux import signal_number
from longshore.model.logs import STREAMS
from longshore.model.record import Record
from longshore.model.requested import Requested, failed, fingerprint
from longshore.model.status import ExecStatus, LogChunk

LOG = logging.getLogger(__name__)
_EXECUTE, _EXEC = "execute", "exec"
#: What is noted of a session, whose outcome nobody asks for again.
_BEGUN: Mapping[str, Any] = {"begun": True}


def _slots() -> Slots:
    return Slots(lambda request: None)


@dataclass(frozen=True)
class Commands:
    """The verbs.

    Args:
        privileged: raises PolicyForbids for a container in which none may be.
        now: Unix seconds.
    """

    journal: Journal
    execs: Execs
    consoles: Consoles
    tasks: Tasks
    privileged: Callable[[str], None]
    changes: Changes
    now: Callable[[], float]
    #: Who holds a request's place runs its command; the same one again waits for what comes of it.
    _places: Slots = field(default_factory=_slots)

    def execute(
        self, request_id: str, ref: str, command: Command, *, timeout: float, output_max: int
    ) -> ExecStatus:
        """Raises:
        IllegalTransition: it does not run.
        Conflict: this was begun by an agent that died, and nobody knows more.
        PolicyForbids: nothing may be privileged on this node.
        CommandNotFound, StartFailed: it cannot be run.
        """
        asked = _Asked(
            request_id,
            _EXECUTE,
            {"ref": ref, "timeout": timeout, "output_max": output_max, **asdict(command)},
        )
        with self._places.hold(request_id):
            record = self._begin(asked, ref, command)
            if isinstance(record, ExecStatus):
                return record
            try:
                status = self.execs.run(
                    record.names, command, timeout=timeout, output_max=output_max
                )
            except LongshoreError as error:
                self._answer(asked, failed(error.to_dict()))
                raise
            self._answer(asked, {"exec": status.to_dict()})
        return status

    def begin(self, request_id: str, ref: str, command: Command) -> Session:
        """Raises as `execute`; Conflict also for one that was begun before."""
        asked = _Asked(request_id, _EXEC, {"ref": ref, **asdict(command)})
        record = self._begin(asked, ref, command)
        assert not isinstance(record, ExecStatus)
        return self.execs.begin(record.names, command)

    def attach(
        self,
        ref: str,
        follow: Callable[[str], Generator[LogChunk, None, None]],
        *,
        stdin: bool,
    ) -> Attachment:
        """It need not run yet.

        Args:
            follow: what one of that id writes until it has ended; an empty piece now and then, and
                first one of each stream.

        Raises:
            IllegalTransition: it could not be made or started, or is being deleted.
            Conflict: it gets no input.
        """
        record = self._known(ref)
        check_inside("attach", record.name, record.state)
        if stdin and not record.spec.stdin:
            raise Conflict(
                f"cannot attach to container {record.name} with input: it was made without",
                field="stdin",
                object=record.name,
                hint="create it with stdin (run -i), or attach without input",
            )
        chunks = follow(record.id)
        # The first are empty: what comes after them is not missed.
        begun = itertools.islice(chunks, len(STREAMS))
        position = {chunk.stream: chunk.offset for chunk in begun}
        console = self.consoles.open(record.names, tty=record.spec.tty)
        return Attached(self, record, chunks, console, position)

    def exit_code(self, id: str) -> int | None:
        """Of one whose log has ended; None: not known."""
        record = self.journal.get(id)
        if record is not None:
            return record.exit_code
        of_it = (one for one in self.changes.after(0, 0) if one.id == id)
        codes = [one.exit_code for one in of_it if one.exit_code is not None]
        return codes[-1] if codes else None

    def _begin(self, asked: _Asked, ref: str, command: Command) -> Record | ExecStatus:
        """Notes that it is begun, and returns in what; or what came of it, if it was before."""
        with self.journal.transaction(durable=True) as tx:
            before = asked.answer(tx)
            if before is not None:
                return before
            record = tx.get(tx.find(ref))
            assert record is not None
            _check_runs(record)
            if command.privileged:
                self.privileged(record.name)
            asked.note(tx, record.id, self.now())
        LOG.info("container %s: a command, request %s", record.id, asked.id)
        return record

    def _answer(self, asked: _Asked, outcome: Mapping[str, Any]) -> None:
        # Should the node lose power now, it was begun, and that is all that anybody knows.
        with self.journal.transaction(durable=False) as tx:
            tx.answer(asked.id, outcome)

    def _known(self, ref: str) -> Record:
        record = self.journal.get(self.journal.find(ref))
        if record is None:
            raise errors.ContainerNotFound(f"cannot find container {ref}: it is gone", object=ref)
        return record


class Attached:
    """`Attachment` whose output is read from the container's log."""

    def __init__(
        self,
        commands: Commands,
        record: Record,
        chunks: Generator[LogChunk, None, None],
        console: Console,
        position: Mapping[str, int],
    ) -> None:
        self._commands = commands
        self._record = record
        self._chunks = chunks
        self._console = console
        self._position = dict(position)
        self._code: int | None = None

    @property
    def pid(self) -> int:
        return self._record.facts.pid or 0

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def tty(self) -> bool:
        return self._record.spec.tty

    @property
    def position(self) -> Mapping[str, int]:
        return self._position

    def read(self, timeout: float) -> Output | None:
        """Returns when the log says that there is nothing new, whatever the timeout."""
        for chunk in self._chunks:
            self._position[chunk.stream] = chunk.offset + len(chunk.data)
            return Output(chunk.stream, chunk.data) if chunk.data else None
        if self._code is None:
            self._code = self._found()
        return None

    def write(self, data: bytes) -> int:
        return self._console.write(data)

    def end_input(self) -> None:
        self._console.end_input()

    def resize(self, rows: int, columns: int) -> None:
        self._console.resize(rows, columns)

    def signal(self, name: str) -> None:
        try:
            number = signal_number(name)
        except ValueError as error:
            raise InvalidRequest(f"cannot signal: {error}", field="signal") from error
        self._commands.tasks.kill(self._record.names, number)

    @property
    def exit_code(self) -> int | None:
        return self._code

    def close(self) -> None:
        self._console.close()
        self._chunks.close()

    def _found(self) -> int:
        """Once its log has ended."""
        code = self._commands.exit_code(self._record.id)
        if code is None:
            raise Conflict(
                f"cannot tell how container {self._record.name} ended", object=self._record.name
            )
        return code


@dataclass(frozen=True)
class _Asked:
    """A request for a command. Its answer is in the journal beside those for containers, but not
    with their container's own, which whatever happens to that would answer."""

    id: str
    verb: str
    arguments: Mapping[str, Any]

    def answer(self, tx: Transaction) -> ExecStatus | None:
        """Raises RequestConflict; Conflict where it was begun, and no more is known; what came of
        it, if that was an error."""
        noted = tx.requested(self.id)
        if noted is None:
            return None
        noted.check_same(self.verb, noted.container, self.arguments)
        if noted.outcome is None or noted.outcome == _BEGUN:
            raise Conflict(
                "cannot run the command again: it was begun before, and what came of it is not "
                "known",
                object=self.id,
                hint="see what it has done; a new request id runs it again",
            )
        if "error" in noted.outcome:
            raise errors.from_dict(noted.outcome["error"])
        return ExecStatus.model_validate(noted.outcome["exec"])

    def note(self, tx: Transaction, container: str, now: float) -> None:
        asked = fingerprint(self.verb, self.arguments)
        tx.ask(Requested(self.id, f"exec {container}", self.verb, asked, 0, now))
        if self.verb == _EXEC:
            tx.answer(self.id, _BEGUN)


def _check_runs(record: Record) -> None:
    check_inside("exec", record.name, record.state)
    if record.paused:
        raise HostBusy(
            f"cannot run a command in container {record.name}: it is frozen for a commit",
            object=record.name,
            hint="ask again in a moment",
        )
