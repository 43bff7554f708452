"""A container's log files, written as a shim does, with the agent's looks between."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from longshore.host.log_keeper import LogKeeper
from longshore.host.logs import Logs
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.status import LogChunk

MIB = 2**20


@dataclass
class Written:
    """`write` appends and sets the time at which that was; `look` is the agent's."""

    folder: Path
    limit: int = MIB
    names: Names = field(default_factory=lambda: Names(str(uuid4())))
    layout: Layout = field(init=False)
    keeper: LogKeeper = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout(self.folder / "state", self.folder / "run")
        self.layout.folder(self.names).mkdir(parents=True, exist_ok=True)
        self.restart()

    def restart(self) -> None:
        """Another agent, which knows what is on the disk alone."""
        self.keeper = LogKeeper(self.layout, self.limit)

    def path(self, stream: str = "stdout") -> Path:
        return self.layout.folder(self.names) / f"{stream}.log"

    def write(self, data: bytes, at: float, stream: str = "stdout", *, look: bool = True) -> None:
        with self.path(stream).open("ab") as file:
            file.write(data)
        os.utime(self.path(stream), (at, at))
        if look:
            self.look()

    def look(self) -> None:
        self.keeper.look(self.names)

    def chunks(self, **choice: object) -> list[LogChunk]:
        given = {"tail": None, "follow": False, "ended": lambda: True, **choice}
        return list(Logs(self.layout).read(self.names, **given))  # type: ignore[arg-type]  # a test's choice

    def text(self, **choice: object) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks(**choice))

    def disk(self) -> int:
        """Bytes that its files have, indexes too."""
        return sum(one.stat().st_blocks * 512 for one in self.layout.folder(self.names).iterdir())
