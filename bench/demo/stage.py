"""Where the demo plays: its folder, its neighbours, its agent, and how all of it goes again.

Every name comes from the checkout's path alone, so that a later run finds what a killed one
left. `LONGSHORE_CONTAINERD` (a socket) and `LONGSHORE_TRANSPORT_URL` name neighbours in use
instead of private ones; there the demo has a namespace, and a node's name, of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.demo import foreign
from bench.lab import mounts
from bench.lab.agent import PrivateAgent
from bench.lab.containerd import RUNTIME_STATE, PrivateContainerd
from bench.lab.host import Scope, audit
from bench.lab.rabbitmq import PrivateRabbit
from longshore.host.containerd.runtime import systemd_is_init

CHECKOUT = Path(__file__).parents[2]
_CGROUP = Path("/sys/fs/cgroup")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class Stage:
    """All paths and names are there from the start; nothing runs before `set_up`."""

    def __init__(self, environ: Mapping[str, str] = os.environ, checkout: Path = CHECKOUT) -> None:
        mark = sha256(str(checkout).encode()).hexdigest()[:6]
        # A unix socket's path has 107 bytes at most, and a checkout's may have more.
        self.folder = Path(f"/var/lib/longshore-demo-{mark}")
        self.pointer = checkout / ".demo" / "folder"
        self.kept_logs = checkout / ".demo" / "logs"
        self.namespace = f"longshore-demo-{mark}"
        self.containerd = PrivateContainerd(self.folder)
        self.rabbit = PrivateRabbit(self.folder)
        self.foreign_containerd = environ.get("LONGSHORE_CONTAINERD")
        self.foreign_url = environ.get("LONGSHORE_TRANSPORT_URL")
        host = re.sub(r"[^a-zA-Z0-9-]", "-", socket.gethostname())[:40].strip("-") or "node"
        self.node = f"demo-{host}-{mark}"
        self._before = self.folder / "before.json"

    @property
    def containerd_socket(self) -> Path:
        return Path(self.foreign_containerd or self.containerd.socket)

    @property
    def url(self) -> str:
        return self.foreign_url or self.rabbit.url

    @property
    def agent(self) -> PrivateAgent:
        return PrivateAgent(
            self.folder,
            self.containerd_socket,
            self.url,
            node=self.node,
            options={"containerd.namespace": self.namespace},
        )

    @property
    def bare_cgroup(self) -> str:
        """Parent of the cgroups that the comparison's bare calls make."""
        return f"{self._names.cgroup}_bare"

    @property
    def bare_namespace(self) -> str:
        """Of containerd, for the comparison's bare calls: the agent's own belongs to it alone."""
        return f"{self.namespace}-bare"

    def set_up(self) -> None:
        """Makes the folder and starts the neighbours that are private. Not the agent.

        Raises:
            RuntimeError: a neighbour does not start, or the one that is named is not there.
        """
        if (there := self.foreign_containerd) and not _is_socket(Path(there)):
            raise RuntimeError(f"cannot use LONGSHORE_CONTAINERD={there}: it is no socket")
        self.folder.mkdir(mode=0o700)
        self._before.write_text(json.dumps(self._found()))
        self.pointer.write_text(f"{self.folder}\n")
        if not self.foreign_containerd:
            self.containerd.start()
        if not self.foreign_url:
            self.rabbit.start()

    def clear(self) -> bool:
        """Ends and removes everything of this demo, or of one that was killed.

        Returns:
            Whether there was something.

        Raises:
            RuntimeError, TimeoutError, OSError: something cannot be ended or removed.
        """
        if not self.folder.exists():
            self.pointer.unlink(missing_ok=True)
            return False
        self._names.stop()
        # Of the run that made the folder, not of this one's environment.
        before = self._recorded()
        self.containerd.stop()
        if there := before.get("containerd"):
            for namespace in (self.namespace, self.bare_namespace):
                foreign.clear_namespace(Path(there), namespace)
        self._names.forget_network()
        self.rabbit.stop()
        if url := before.get("url"):
            foreign.delete_queues(url, self.node)
        mounts.unmount_all(self.folder)
        self._restore(before)
        if left := mounts.beneath(self.folder):
            raise RuntimeError(f"cannot remove {self.folder}: {left[0].point} is still mounted")
        shutil.rmtree(self.folder)
        self.pointer.unlink(missing_ok=True)
        return True

    def left(self) -> list[str]:
        """What of the demo is on the host; empty after `clear`. One line each."""
        agent = self._names
        scope = Scope(
            folders=[self.folder],
            bridges=[agent.bridge],
            tables=[agent.table],
            ids=[],
            cgroups=[agent.cgroup, self.bare_cgroup],
        )
        folder = [f"folder {self.folder}"] if self.folder.exists() else []
        return [*folder, *audit(scope)]

    def forget_logs(self) -> None:
        shutil.rmtree(self.kept_logs, ignore_errors=True)

    def keep_logs(self) -> None:
        """Copies the logs out of the folder, for a run that failed."""
        self.kept_logs.mkdir(parents=True, exist_ok=True)
        for log in (self._names.log, self.containerd.log, self.rabbit.log):
            with suppress(FileNotFoundError):
                shutil.copy(log, self.kept_logs)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the checkout's lock: two demos at once would end each other.

        Raises:
            RuntimeError: another one runs.
        """
        self.pointer.parent.mkdir(exist_ok=True)
        with (self.pointer.parent / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError(
                    "cannot run the demo: another one runs in this checkout"
                ) from None
            yield

    @property
    def _names(self) -> PrivateAgent:
        """The agent for its names and its pid, whichever neighbours it has."""
        return PrivateAgent(self.folder, self.containerd.socket)

    def _found(self) -> dict[str, Any]:
        """What to put back at the end, and where else something of ours will be."""
        return {
            "containerd": self.foreign_containerd,
            "url": self.foreign_url,
            "ip_forward": _FORWARDING.read_text(),
            "missing": [str(path) for path in self._shared_folders() if not path.exists()],
        }

    def _recorded(self) -> dict[str, Any]:
        try:
            recorded: dict[str, Any] = json.loads(self._before.read_text())
        except (FileNotFoundError, ValueError):
            return {}  # killed before anything else was made
        return recorded

    def _shared_folders(self) -> Iterator[Path]:
        """Folders of the host that a runtime makes for the first container; innermost first."""
        state = RUNTIME_STATE
        yield from (state / name for name in (self.bare_namespace, self.namespace))
        yield from (state, state.parent / "s", state.parent)
        for parent in ("longshore", self._names.cgroup, self.bare_cgroup):
            for name in (parent, f"{parent}.slice"):
                yield _CGROUP / name
                yield from (tree / name for tree in _CGROUP.glob("*/") if not tree.is_symlink())

    def _restore(self, before: Mapping[str, Any]) -> None:
        for path in map(Path, before.get("missing", ())):
            if path.suffix == ".slice" and path.is_dir() and systemd_is_init():
                subprocess.run(["systemctl", "stop", path.name], timeout=30, check=False)
            with suppress(OSError):  # not there, or in use by another
                path.rmdir()
        if (value := before.get("ip_forward")) and value != _FORWARDING.read_text():
            _FORWARDING.write_text(value)


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
