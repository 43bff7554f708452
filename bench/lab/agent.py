"""A longshore-agent of one's own: state, run folder, bridge, nft table, cgroup parent, sockets."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.lab import process
from bench.lab.host import Scope, remove_empty_cgroups
from bench.lab.process import Process
from longshore.host.network import Network
from longshore.model.addressing import NetworkConfig
from longshore.model.layout import Layout

_ROUTES = Path("/proc/net/route")
#: Where a lab looks for a subnet that nothing of the host's routes.
_SUBNETS = IPv4Network("10.128.0.0/9")


class PrivateAgent:
    """`with PrivateAgent(folder, containerd.socket, rabbit.url) as agent:` → `agent.socket`.

    What names things on the host comes from `folder`, so several live side by side, and another
    process can make the same object on the same folder and `stop()` it.

    Args:
        folder: beneath PrivateContainerd's, so that it sees what the agent mounts.
        options: `group.option` → value, over the lab's own.
        program: what to start; the agent's module, unless a test wraps it.
    """

    def __init__(
        self,
        folder: Path,
        containerd: Path,
        transport_url: str | None = None,
        *,
        node: str | None = None,
        options: Mapping[str, object] | None = None,
        program: Sequence[str | Path] = ("-m", "longshore.daemon"),
    ) -> None:
        self.folder = folder.resolve()
        self.home = self.folder / "agent"
        mark = hashlib.sha256(str(self.home).encode()).hexdigest()
        self.node = node or f"node-{mark[:6]}"
        self.bridge = f"lsh-{mark[:6]}"
        self.table = f"longshore_{mark[:6]}"
        self.cgroup = f"longshore_{mark[:6]}"
        self.state_dir = self.home / "state"
        self.run_dir = self.home / "run"
        self.socket = self.home / "agent.sock"
        self.volumes = self.folder / "volumes"
        self.archives = self.folder / "archives"
        self.secrets = self.folder / "secrets"
        self.log = self.home / "agent.log"
        self.transport_url = transport_url
        self._containerd = containerd
        self._options = dict(options or {})
        self._program = program
        self._pid_file = self.home / "agent.pid"
        self._mark = mark

    @property
    def pid(self) -> int:
        """Raises RuntimeError while it does not run."""
        running = process.recorded(self._pid_file)
        if running is None:
            raise RuntimeError(f"cannot tell the agent's pid: none runs in {self.home}")
        return running.pid

    @property
    def scope(self) -> Scope:
        """What `host.audit` has to look at to find everything of this agent's."""
        return Scope([self.home], [self.bridge], [self.table], ids=[], cgroups=[self.cgroup])

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Returns once its local API answers. Running already is fine."""
        if process.recorded(self._pid_file):
            return
        child = process.start(
            [sys.executable, *self._program, "--config-file", self.configure()],
            log=self.log,
            pid_file=self._pid_file,
            env={**os.environ, **(env or {})},
        )
        process.wait_until(self._answers, child, deadline=180.0, log=self.log)

    def configure(self) -> Path:
        """Writes the configuration, unless it is there, and returns its path."""
        for folder in (self.home, self.volumes, self.archives):
            folder.mkdir(parents=True, exist_ok=True)
        config = self.home / "longshore.conf"
        if not config.exists():
            config.touch(mode=0o600)  # it may hold the broker's password
            config.write_text(self._config())
        return config

    def kill(self) -> None:
        """kill -9."""
        process.end(process.recorded(self._pid_file), signal.SIGKILL)

    def stop(self) -> None:
        """An orderly stop; containers go on."""
        process.end(process.recorded(self._pid_file), grace=60.0)

    def forget(self) -> None:
        """Removes what it leaves for its next container: bridge, nft tables, cgroups."""
        self.forget_network()
        self.forget_cgroups()

    def forget_network(self) -> None:
        network = Network(
            Layout(self.state_dir, self.run_dir), [NetworkConfig(bridge=self.bridge)], self.table
        )
        try:
            network.teardown()
        finally:
            network.close()

    def forget_cgroups(self) -> None:
        """Removes the empty parent, which the agent leaves for its next container."""
        remove_empty_cgroups(self.cgroup)
        remove_empty_cgroups(f"{self.cgroup}.slice")

    def wait_dead(self, deadline: float = 30.0) -> None:
        """Waits until it ended by itself."""
        until = time.monotonic() + deadline
        while (running := process.recorded(self._pid_file)) is not None:
            if time.monotonic() > until:
                raise RuntimeError(f"the agent {running.pid} still lives")
            time.sleep(0.01)

    def running(self) -> Process | None:
        return process.recorded(self._pid_file)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _config(self) -> str:
        options: dict[str, object] = {
            "DEFAULT.node_name": self.node,
            "DEFAULT.state_dir": self.state_dir,
            "DEFAULT.run_dir": self.run_dir,
            "containerd.socket": self._containerd,
            "network.bridge": self.bridge,
            "network.subnet": _free_subnet(self._mark),
            "network.table": self.table,
            "cgroup.parent": self.cgroup,
            "volumes.roots": self.volumes,
            "images.archive_roots": self.archives,
            "secrets.folder": self.secrets,
            "local.socket": self.socket,
            "bus.enabled": self.transport_url is not None,
            **({"DEFAULT.transport_url": self.transport_url} if self.transport_url else {}),
            **self._options,
        }
        groups: dict[str, list[str]] = {}
        for name, value in options.items():
            group, _, option = name.partition(".")
            groups.setdefault(group, []).append(f"{option} = {value}")
        return "\n".join(line for group, lines in groups.items() for line in (f"[{group}]", *lines))

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as wire:
                wire.connect(str(self.socket))
        except OSError:
            return False
        return True


def _free_subnet(mark: str) -> IPv4Network:
    """A /24 that no route of the host covers, the same for the same mark as long as it is free."""
    routed = list(_routes())
    choices = 2 ** (24 - _SUBNETS.prefixlen)
    start = int(mark[:8], 16) % choices
    for step in range(choices):
        offset = (start + step) % choices * 256
        subnet = IPv4Network((int(_SUBNETS.network_address) + offset, 24))
        if not any(subnet.overlaps(other) for other in routed):
            return subnet
    raise RuntimeError(f"cannot find a subnet: all of {_SUBNETS} is routed on this host")


def _routes() -> list[IPv4Network]:
    networks = []
    for line in _ROUTES.read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
        if mask:
            networks.append(IPv4Network((address, bin(mask).count("1"))))
    return networks
