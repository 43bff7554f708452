"""The command line as a test types it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from longshore.cli.main import cli


@dataclass
class Shell:
    """Runs commands in this process; `run("ps -a")` or `run("run", "-d", …)`."""

    socket: Path

    def run(
        self, *words: str, env: Mapping[str, str] | None = None, input: bytes | None = None
    ) -> Result:
        arguments = words[0].split() if len(words) == 1 else list(words)
        environment = {"LONGSHORE_SOCKET": str(self.socket), **(env or {})}
        return CliRunner().invoke(cli, arguments, env=environment, input=input)

    def out(self, *words: str) -> str:
        """What it prints, for one that succeeds."""
        result = self.run(*words)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout
