"""Commands in memory: what they are like is checked beside the real ones, by tests/contract."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from longshore.errors import CommandNotFound, Conflict, NotFound
from longshore.model.execs import Command, Kept, Output
from longshore.model.linux import signal_number
from longshore.model.names import Names
from longshore.model.status import ExecStatus


@dataclass
class FakeExecs:
    """Knows `true`, `false`, `echo`, `cat` and `sleep`, which lasts until it is killed.

    `running`: ids of containers that run; None: all do. `ran`: what was run, in order.
    `outcomes`: what comes of a program's next runs, instead of that.
    """

    running: Callable[[str], bool] = lambda id: True
    ran: list[tuple[str, Command]] = field(default_factory=list)
    open: list[FakeSession] = field(default_factory=list)
    outcomes: dict[str, deque[ExecStatus | BaseException]] = field(default_factory=dict)
    held: threading.Event | None = None

    def run(self, names: Names, command: Command, *, timeout: float, output_max: int) -> ExecStatus:
        if planned := self.outcomes.get(command.arguments[0]):
            self.ran.append((names.id, command))
            if self.held is not None:
                assert self.held.wait(20)
            outcome = planned.popleft()
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome
        session = self.begin(names, command)
        kept = Kept(output_max)
        timed_out = session.exit_code is None and not session.news
        if timed_out:
            session.signal("SIGKILL")
        while (code := session.exit_code) is None:
            if output := session.read(0):
                kept.add(output)
        session.close()
        return kept.status(code, 0.0, timed_out=timed_out)

    def begin(self, names: Names, command: Command) -> FakeSession:
        if not self.running(names.id):
            raise NotFound(f"cannot run a command in {names.id}: no task", object=names.id)
        self.ran.append((names.id, command))
        program, *rest = command.arguments
        sessions = {
            "true": lambda: FakeSession(command, 0),
            "false": lambda: FakeSession(command, 1),
            "echo": lambda: FakeSession(command, 0, [" ".join(rest).encode() + b"\n"]),
            "cat": lambda: FakeSession(command, None if command.stdin else 0),
            "sleep": lambda: FakeSession(command, None),
        }
        if program not in sessions:
            raise CommandNotFound(
                f"cannot run a command in {names.id}: command {program} is not in the image",
                field="command",
                object=names.id,
            )
        session = sessions[program]()
        session.closed = lambda: self.open.remove(session)
        self.open.append(session)
        return session


class FakeSession:
    """`news`: what it wrote and nobody has read."""

    pid = 4711

    def __init__(self, command: Command, code: int | None, news: list[bytes] | None = None) -> None:
        self.command = command
        self.news = deque(news or ())
        self.closed: Callable[[], None] = lambda: None
        self.signals: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self._code = code
        self._is_closed = False
        self._change = threading.Condition()

    def read(self, timeout: float) -> Output | None:
        with self._change:
            self._change.wait_for(lambda: self.news or self._code is not None, timeout)
            return Output("stdout", self.news.popleft()) if self.news else None

    def write(self, data: bytes) -> int:
        if not self.command.stdin:
            raise Conflict("cannot send input to a command: it has none")
        with self._change:
            self.news.append(data)
            self._change.notify_all()
        return len(data)

    def end_input(self) -> None:
        with self._change:
            if self.command.arguments[0] == "cat" and self._code is None:
                self._code = 0
            self._change.notify_all()

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    def signal(self, name: str) -> None:
        self.signals.append(name)
        with self._change:
            if self._code is None:
                self._code = 128 + signal_number(name)
            self._change.notify_all()

    @property
    def exit_code(self) -> int | None:
        return None if self.news else self._code

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self.signal("SIGKILL")
            self.closed()


@dataclass
class FakeProcess:
    """`cat`, a container's own process: it writes what it reads, and outlives who is attached.

    `held`: it reads nothing.
    """

    written: bytearray = field(default_factory=bytearray)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    code: int | None = None
    held: bool = False
    change: threading.Condition = field(default_factory=threading.Condition)


@dataclass
class FakeAttachment:
    """Of the container of that id."""

    process: FakeProcess
    id: str
    at: int
    tty: bool = False
    pid: int = 4712
    closed: bool = False

    @property
    def position(self) -> Mapping[str, int]:
        return {"stdout": self.at, "stderr": 0}

    def read(self, timeout: float) -> Output | None:
        with self.process.change:
            self.process.change.wait_for(self._has_news, timeout)
            data = bytes(self.process.written[self.at :])
            self.at += len(data)
            return Output("stdout", data) if data else None

    def write(self, data: bytes) -> int:
        with self.process.change:
            self.process.change.wait_for(lambda: self.closed or not self.process.held)
            if self.closed:
                return 0
            self.process.written += data
            self.process.change.notify_all()
            return len(data)

    def end_input(self) -> None:
        with self.process.change:
            self.process.code = 0
            self.process.change.notify_all()

    def resize(self, rows: int, columns: int) -> None:
        self.process.sizes.append((rows, columns))

    def signal(self, name: str) -> None:
        with self.process.change:
            self.process.code = 128 + signal_number(name)
            self.process.change.notify_all()

    @property
    def exit_code(self) -> int | None:
        return None if self.at < len(self.process.written) else self.process.code

    def close(self) -> None:
        with self.process.change:
            self.closed = True
            self.process.change.notify_all()

    def _has_news(self) -> bool:
        return self.at < len(self.process.written) or self.process.code is not None


@dataclass
class FakeConsole:
    written: bytearray = field(default_factory=bytearray)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    ended: bool = False

    def write(self, data: bytes) -> int:
        if self.ended:
            raise Conflict("cannot send input: its input has ended")
        self.written += data
        return len(data)

    def end_input(self) -> None:
        self.ended = True

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    def close(self) -> None: ...


@dataclass
class FakeConsoles:
    there: dict[str, FakeConsole] = field(default_factory=dict)

    def open(self, names: Names, *, tty: bool) -> FakeConsole:
        return self.there.setdefault(names.id, FakeConsole())
