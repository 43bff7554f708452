"""Commands in a running container, and the input of its first process."""

from __future__ import annotations

from typing import Protocol

from longshore.model.execs import Command, Session
from longshore.model.names import Names
from longshore.model.status import ExecStatus


class Execs(Protocol):
    """What is begun is ended and removed whatever happens, also when the agent dies: its next life
    does so."""

    def run(self, names: Names, command: Command, *, timeout: float, output_max: int) -> ExecStatus:
        """Runs it to its end, at most `timeout` seconds: then it is killed, and `timed_out`. Of
        each output the first `output_max` bytes are kept. Raises as `begin`."""

    def begin(self, names: Names, command: Command) -> Session:
        """Raises NotFound: the container does not run; StartFailed and its children: the command
        cannot be run; HostFailed and its children. Close the session."""


class Console(Protocol):
    """This end of the input and, if it has one, the terminal of a container's first process."""

    def write(self, data: bytes) -> int:
        """Waits while the process does not read, until `close`; returns how many bytes it was
        given. Raises Conflict: it has no input, or that was ended."""

    def end_input(self) -> None:
        """For good. A terminal stays open: its end would end the process."""

    def resize(self, rows: int, columns: int) -> None:
        """Nothing without a terminal, or once it has ended."""

    def close(self) -> None:
        """The process and its input stay as they are."""


class Consoles(Protocol):
    def open(self, names: Names, *, tty: bool) -> Console: ...
