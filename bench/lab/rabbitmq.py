"""A RabbitMQ of one's own on loopback, with its own epmd."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.lab import process
from bench.lab.neighbour import Neighbour

#: The wrapper in sbin would change the user; this one becomes the Erlang VM.
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_AMQP_HELLO = b"AMQP\0\0\x09\x01"


@dataclass(frozen=True)
class _Ports:
    amqp: int
    dist: int
    epmd: int


class PrivateRabbit(Neighbour):
    """`with PrivateRabbit(folder) as rabbit:` → `rabbit.url` for oslo.messaging.

    Ports are chosen at the first start and kept, so that clients reconnect after a crash.
    All state is on disk: another process can make the same object on the same folder and
    `stop()` it.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder.resolve() / "rabbitmq"
        self.log = self.home / "rabbitmq.log"
        self._pid_file = self.home / "rabbitmq.pid"
        self._epmd_file = self.home / "epmd.pid"
        self._ports_file = self.home / "ports"

    @property
    def port(self) -> int:
        return self._ports().amqp

    @property
    def url(self) -> str:
        return f"rabbit://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        """Pid of the broker; raises RuntimeError while it does not run."""
        running = process.recorded(self._pid_file)
        if running is None:
            raise RuntimeError(f"cannot tell RabbitMQ's pid: none runs in {self.home}")
        return running.pid

    def start(self) -> None:
        """Returns once it speaks AMQP. Running already is fine."""
        if process.recorded(self._pid_file):
            return
        self.home.mkdir(parents=True, exist_ok=True)
        ports = self._ports()
        env = self._environment(ports)
        if process.recorded(self._epmd_file) is None:
            # In the foreground as our child: one that RabbitMQ started would outlive it unseen.
            epmd = process.start(
                ["epmd", "-address", "127.0.0.1", "-port", str(ports.epmd)],
                log=self.log,
                pid_file=self._epmd_file,
                env=env,
            )
            process.wait_until(lambda: _listens(ports.epmd), epmd, deadline=10.0, log=self.log)
        server = process.start(
            [_SERVER], log=self.log, pid_file=self._pid_file, env=env, cwd=self.home
        )
        process.wait_until(self._answers, server, deadline=90.0, log=self.log)

    def kill(self) -> None:
        """A crash: SIGKILL to the broker."""
        process.end(process.recorded(self._pid_file), signal.SIGKILL)

    def restart(self) -> None:
        """An orderly stop and start on the same ports."""
        process.end(process.recorded(self._pid_file), grace=30.0)
        self.start()

    def stop(self) -> None:
        """Ends the broker and its epmd."""
        server, epmd = process.recorded(self._pid_file), process.recorded(self._epmd_file)
        process.end(server, grace=30.0)
        process.end(epmd)

    def data(self) -> Iterable[Path]:
        return [self.home / "data"]

    def _ports(self) -> _Ports:
        try:
            return _Ports(*map(int, self._ports_file.read_text().split()))
        except FileNotFoundError:
            pass
        ports = _Ports(*_free_ports(3))
        self.home.mkdir(parents=True, exist_ok=True)
        self._ports_file.write_text(f"{ports.amqp} {ports.dist} {ports.epmd}\n")
        return ports

    def _environment(self, ports: _Ports) -> dict[str, str]:
        data = self.home / "data"
        data.mkdir(exist_ok=True)
        config = self.home / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{ports.amqp}\n"
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
            "disk_free_limit.absolute = 50MB\n"
        )
        plugins = self.home / "enabled_plugins"
        plugins.write_text("[].\n")
        return {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "RABBITMQ_NODENAME": f"longshore{ports.amqp}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(ports.amqp),
            "RABBITMQ_DIST_PORT": str(ports.dist),
            "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(data / "log"),
            "RABBITMQ_PID_FILE": str(data / "pid"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(data / "feature_flags"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(data / "config"),
            # Two cores shared with what is measured: schedulers must not spin while idle.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} "
                "+sbwt none +sbwtdcpu none +sbwtdio none"
            ),
            # The start script then becomes the Erlang VM, and its pid is the broker's.
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(ports.epmd),
        }

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as wire:
                wire.sendall(_AMQP_HELLO)
                return bool(wire.recv(1))
        except OSError:
            return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2.0).close()
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has; held together until all are known, so they differ."""
    with ExitStack() as stack:
        wires = [stack.enter_context(socket.socket()) for _ in range(count)]
        for wire in wires:
            wire.bind(("127.0.0.1", 0))
        return [int(wire.getsockname()[1]) for wire in wires]
