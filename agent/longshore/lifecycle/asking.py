"""One probe of a container, of whichever kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from longshore.errors import StartFailed
from longshore.lifecycle.ports.probes import Probes
from longshore.model import probing
from longshore.model.execs import Command
from longshore.model.health import HealthCheck, words_of
from longshore.model.names import Names
from longshore.model.probing import Found
from longshore.model.record import Record
from longshore.model.status import ExecStatus


class Runs(Protocol):
    """Of `Execs`."""

    def run(
        self, names: Names, command: Command, *, timeout: float, output_max: int
    ) -> ExecStatus: ...


@dataclass(frozen=True)
class Asking:
    """`timer`: monotonic seconds."""

    probes: Probes
    execs: Runs
    timer: Callable[[], float]

    def ask(self, record: Record, check: HealthCheck) -> Found:
        """Raises LongshoreError: nobody knows how it is."""
        began = self.timer()
        ok, said = self._ask(record, check)
        text = said.encode()[: probing.OUTPUT_MAX].decode(errors="ignore").strip()
        return Found(ok, text, self.timer() - began)

    def _ask(self, record: Record, check: HealthCheck) -> tuple[bool, str]:
        where = probing.where(record)
        if check.port is None:
            return self._run(record.names, check)
        if check.type == "tcp":
            return self.probes.tcp(where, check.port, timeout=check.timeout)
        return self.probes.http(where, check.port, check.path, tls=check.tls, timeout=check.timeout)

    def _run(self, names: Names, check: HealthCheck) -> tuple[bool, str]:
        command = Command(check.command)
        try:
            ended = self.execs.run(
                names, command, timeout=check.timeout, output_max=probing.OUTPUT_MAX
            )
        except StartFailed as error:
            return False, str(error)
        said = (ended.stdout + ended.stderr).strip()
        if ended.timed_out:
            late = f"{words_of(check)}: not done in {check.timeout:g} s"
            return False, _told(late, said)
        if ended.exit_code != 0:
            return False, _told(f"exit code {ended.exit_code}", said)
        return True, said


def _told(what: str, said: str) -> str:
    return f"{what}: {said}" if said else what
