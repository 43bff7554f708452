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
    def spool(self) -> Path:
        """For files that live no longer than the call that needs them."""
        return self.state_dir / "spool"

    @property
    def volumes(self) -> Path:
        return self.run_dir / "volumes"

    @property
    def anonymous(self) -> Path:
        """A folder for each container that has anonymous volumes."""
        return self.state_dir / "data"

    @property
    def namespaces(self) -> Path:
        return self.run_dir / "netns"

    def folder(self, names: Names) -> Path:
        """Logs, and the files that the container gets, as they were asked for."""
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

    def zone(self, names: Names) -> dict[str, Path]:
        """Of a container with a time zone: target inside → file on the node."""
        return {f"/etc/{name}": self.folder(names) / name for name in ("localtime", "timezone")}

    def data(self, names: Names, index: int) -> Path:
        """The content of anonymous volume number `index` of the image."""
        return self.anonymous / names.id / str(index)

    @property
    def named_volumes(self) -> Path:
        """A folder for each named volume."""
        return self.state_dir / "volumes"

    def named_volume(self, name: str) -> Path:
        """Its content."""
        return self.named_volumes / name / "data"

    def file(self, names: Names, index: int) -> Path:
        """File number `index` of the spec."""
        return self.folder(names) / f"file-{index}"

    def authorized_keys(self, names: Names) -> Path:
        return self.folder(names) / "authorized_keys"

    @property
    def injected(self) -> Path:
        """A file system in memory for each container that runs."""
        return self.run_dir / "injected"

    def shown(self, names: Names) -> Path:
        """Copies of the files in the container's folder, which the runtime mounts."""
        return self.injected / names.id / "files"

    @property
    def secret_key(self) -> Path:
        """What values of secrets are encrypted with in the journal."""
        return self.state_dir / "secret.key"

    @property
    def secrets(self) -> Path:
        """A file system in memory."""
        return self.run_dir / "secrets"

    def secret(self, names: Names, index: int) -> Path:
        """Secret number `index` of the spec."""
        return self.secrets / names.id / str(index)

    @property
    def user_namespaces(self) -> Path:
        """For each container that has one: the namespace, and its image's layers as seen there."""
        return self.run_dir / "userns"

    def userns(self, names: Names) -> Path:
        return self.user_namespaces / names.id / "user"

    def layers(self, names: Names) -> Path:
        """The folder that has all layers of the container's snapshot, as seen from its user
        namespace."""
        return self.user_namespaces / names.id / "layers"

    @property
    def stdio(self) -> Path:
        """A folder for each container that gets input, or has commands running in it."""
        return self.run_dir / "stdio"

    def stdin(self, names: Names) -> Path:
        """The FIFO that its first process reads."""
        return self.stdio / names.id / "stdin"

    def exec(self, names: Names, id: str) -> Path:
        """The folder of FIFOs of a command in it."""
        return self.stdio / names.id / id

    def netns(self, names: Names) -> Path:
        return self.namespaces / names.id

    def volume(self, names: Names, index: int) -> Path:
        """Where mount number `index` of the spec is bound before the runtime takes it."""
        return self.volumes / names.id / str(index)
