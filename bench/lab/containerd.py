"""A containerd of one's own: private root, state, socket and configuration."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.lab import mounts, process
from bench.lab.neighbour import Neighbour
from bench.lab.process import Process

#: Plugins that would reach outside the private folder (/opt/containerd, /etc/cni, /run/nri) or
#: probe for file systems that the lab does not use.
_DISABLED = (
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
)
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_SETTINGS_FRAME = 4
#: Where every shim of this host keeps runc's and crun's state, whichever containerd it serves.
RUNTIME_STATE = Path("/run/containerd/runc")
_CGROUP = Path("/sys/fs/cgroup")


class PrivateContainerd(Neighbour):
    """`with PrivateContainerd(folder) as containerd:` → `containerd.socket`.

    Whatever the agent mounts for its containers (volumes, network namespaces) must lie
    beneath `folder`: on a hybrid host containerd lives in a mount namespace of its own, and
    only mounts below `folder` reach it. All state is on disk: another process can make the
    same object on the same folder and `stop()` it.

    Args:
        btrfs: with that snapshotter: `home / "root"` is a file system of that kind (disk.py).
    """

    def __init__(self, folder: Path, *, btrfs: bool = False) -> None:
        self.folder = folder.resolve()
        self.home = self.folder / "containerd"
        self.socket = self.home / "containerd.sock"
        self.log = self.home / "containerd.log"
        self._pid_file = self.home / "containerd.pid"
        self._btrfs = btrfs
        if len(os.fsencode(self.socket)) > 100:
            raise ValueError(f"cannot use {self.socket}: a socket's path has at most 107 bytes")

    @property
    def bundles(self) -> Path:
        """Where it makes the bundles of the agent's namespace."""
        return self.home / "state" / "io.containerd.runtime.v2.task" / "longshore"

    @property
    def pid(self) -> int:
        """Pid of containerd; raises RuntimeError while it does not run."""
        running = process.recorded(self._pid_file)
        if running is None:
            raise RuntimeError(f"cannot tell containerd's pid: none runs in {self.folder}")
        return running.pid

    def start(self) -> None:
        """Returns once it serves gRPC. Running already is fine."""
        if process.recorded(self._pid_file):
            return
        self.home.mkdir(parents=True, exist_ok=True)
        # As /run is: the root of a user namespace has to get through to its root file system.
        self.folder.chmod(0o711)
        config = self.home / "config.toml"
        config.write_text(self._config())
        command = ["containerd", "--config", str(config)]
        if mounts.hybrid():
            mounts.share(self.folder)
            command = [sys.executable, "-I", "-S", str(Path(mounts.__file__)), *command]
        child = process.start(command, log=self.log, pid_file=self._pid_file)
        process.wait_until(self._answers, child, deadline=30.0, log=self.log)

    def kill(self) -> None:
        """A crash: SIGKILL to containerd alone. Containers and their shims live on."""
        process.end(process.recorded(self._pid_file), signal.SIGKILL)

    def restart(self) -> None:
        """An orderly restart of containerd alone. Containers and their shims live on."""
        process.end(process.recorded(self._pid_file))
        self.start()

    def stop(self) -> None:
        """Ends containerd, its shims and their containers, and unmounts all below the folder."""
        process.end(process.recorded(self._pid_file))
        shims = self.shims()
        inside = process.descendants(shims)
        cgroups = {path for one in inside for path in _cgroups(one)}
        # Deepest last: a container's first process takes its whole pid namespace along, and
        # its shim is there to reap it.
        for one in [*inside, *shims]:
            process.end(one, signal.SIGKILL)
        for path in sorted(cgroups, key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):  # somebody else's, or in use: not ours to remove
                path.rmdir()
        for bundle in self.home.glob("state/io.containerd.runtime.v2.task/*/*"):
            _forget(bundle)
        mounts.unmount_all(self.folder)

    def ctr(self, *words: str | Path, namespace: str = "longshore", deadline: float = 60.0) -> str:
        """Runs `ctr` against this containerd and returns what it prints.

        Raises:
            RuntimeError: it failed; the message is ctr's own.
        """
        command = ["ctr", "--address", self.socket, "--namespace", namespace, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=deadline, check=False
        )
        if done.returncode:
            raise RuntimeError(f"cannot {' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout

    def shims(self) -> list[Process]:
        """The shims that serve this containerd, also those that outlived it."""
        return [
            one
            for one in process.processes()
            if (command := one.command)
            and "containerd-shim" in command[0]
            and str(self.socket) in command
        ]

    def leftovers(self, namespace: str = "longshore") -> list[str]:
        """Containers, tasks, leases and writable snapshots in the namespace, one line each."""
        lists = (
            ("container", ["containers", "ls", "-q"]),
            ("task", ["tasks", "ls", "-q"]),
            ("lease", ["leases", "ls", "-q"]),
        )
        found = [
            f"{kind} {name}"
            for kind, words in lists
            for name in self.ctr(*words, namespace=namespace).split()
        ]
        snapshots = self.ctr("snapshots", "ls", namespace=namespace).splitlines()[1:]
        return found + [
            f"snapshot {line.split()[0]}" for line in snapshots if line.split()[-1] == "Active"
        ]

    def data(self) -> Iterable[Path]:
        return [self.home / name for name in ("root", "state")]

    def _config(self) -> str:
        names = _DISABLED if self._btrfs else (*_DISABLED, "io.containerd.snapshotter.v1.btrfs")
        disabled = ", ".join(f'"{name}"' for name in names)
        return f"""version = 2
root = "{self.home / "root"}"
state = "{self.home / "state"}"
disabled_plugins = [{disabled}]
[grpc]
  address = "{self.socket}"
[debug]
  level = "info"
"""

    def _answers(self) -> bool:
        """Its HTTP/2 settings arrive only once the gRPC server is up; a connection does sooner."""
        try:
            with socket.socket(socket.AF_UNIX) as wire:
                wire.settimeout(2.0)
                wire.connect(str(self.socket))
                wire.sendall(_HTTP2_HELLO)
                frame = wire.recv(9)
        except OSError:
            return False
        return len(frame) > 3 and frame[3] == _SETTINGS_FRAME


def _forget(bundle: Path) -> None:
    """Removes what a killed shim leaves outside its bundle: its socket and the runtime's state."""
    with contextlib.suppress(OSError):
        Path((bundle / "address").read_text().removeprefix("unix://")).unlink()
    shutil.rmtree(RUNTIME_STATE / bundle.parent.name / bundle.name, ignore_errors=True)


def _cgroups(one: Process) -> list[Path]:
    """The process's own cgroup under each hierarchy, never a root."""
    try:
        lines = Path(f"/proc/{one.pid}/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, names, path = line.split(":", 2)
        if path.count("/") < 2:
            continue
        for tree in names.removeprefix("name=").split(",") if names else [".", "unified"]:
            folder = _CGROUP / tree / path.lstrip("/")
            if folder.is_dir():
                found.append(folder)
    return found
