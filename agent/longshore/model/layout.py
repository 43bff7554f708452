"""Where on the node things are: every path as a function of two folders and the container's id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from longshore.model.names import Names


@dataclass(frozen=True)
class Layout:
    """`state_dir` survives a reboot, `run_dir` does not."""

    state_dir: Path
    run_dir: Path

    @property
    def journal(self) -> Path:
        return self.state_dir / "journal.sqlite"

    @property
    def containers(self) -> Path:
        return self.state_dir / "containers"

    @property
    def volumes(self) -> Path:
        return self.run_dir / "volumes"

    @property
    def namespaces(self) -> Path:
        return self.run_dir / "netns"

    def folder(self, names: Names) -> Path:
        """Logs and the files that are mounted into the container."""
        return self.containers / names.id

    def stdout(self, names: Names) -> Path:
        return self.folder(names) / "stdout.log"

    def stderr(self, names: Names) -> Path:
        return self.folder(names) / "stderr.log"

    def etc(self, names: Names) -> dict[str, Path]:
        """Target inside the container → file on the node."""
        return {
            f"/etc/{name}": self.folder(names) / name
            for name in ("hostname", "hosts", "resolv.conf")
        }

    def netns(self, names: Names) -> Path:
        return self.namespaces / names.id

    def volume(self, names: Names, index: int) -> Path:
        """Where mount number `index` of the spec is bound before the runtime takes it."""
        return self.volumes / names.id / str(index)
