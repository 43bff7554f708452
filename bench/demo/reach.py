"""Ways to the node from outside of its agent: HTTP, the command line, the local socket."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.demo.stage import Stage
from longshore.local.client import LocalClient
from longshore.model.status import ContainerStatus

LONGSHORE = Path(sys.executable).with_name("longshore")


def await_bus(stage: Stage, seconds: float = 30.0) -> None:
    """Returns once the agent listens on the bus: it starts without waiting for its broker."""
    until = time.monotonic() + seconds
    with LocalClient(stage.agent.socket) as client:
        while True:
            broker = [one for one in client.node_status().neighbours if one.name == "rabbitmq"]
            if broker and broker[0].state == "up":
                return
            if time.monotonic() > until:
                raise TimeoutError(f"the agent does not listen on the bus: {broker}")
            time.sleep(0.02)


def operate(stage: Stage, *words: str, capture: bool = False) -> str:
    """Runs the command line against the demo's agent: shown as it is, or returned."""
    command = [str(LONGSHORE), "--socket", str(stage.agent.socket), *words]
    if not capture:
        print(f"$ longshore {' '.join(words)}", flush=True)
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout or ""


def fetch(address: str, port: int, path: str = "/", status: int = 200) -> bytes:
    """The page's body. A server that does not listen yet is waited for."""
    until = time.monotonic() + 5.0
    while True:
        connection = http.client.HTTPConnection(address, port, timeout=5.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
            continue
        finally:
            connection.close()
        if answer.status != status:
            raise ConnectionError(f"http://{address}:{port}{path} answers {answer.status}")
        return body


def address(web: ContainerStatus) -> str:
    """The node's own address towards the world; where there is none, that of its bridge."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return web.nics[0].gateway
        return str(probe.getsockname()[0])
