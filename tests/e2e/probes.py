"""What tests look at by themselves, without asking the agent: pages, datagrams, cgroup files."""

from __future__ import annotations

import ctypes
import http.client
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

_CLONE_NEWNET = 0x40000000
_CGROUP = Path("/sys/fs/cgroup")
#: Limit → the controller and file of cgroup v1, and the file of v2.
_FILES = {
    "memory": ("memory", "memory.limit_in_bytes", "memory.max"),
    "pids": ("pids", "pids.max", "pids.max"),
    "cpu quota": ("cpu", "cpu.cfs_quota_us", "cpu.max"),
}
_libc = ctypes.CDLL(None, use_errno=True)


def page(address: str, port: int, path: str = "/") -> bytes:
    """The body of a 200; whatever proxy the environment names, it is not asked."""
    connection = http.client.HTTPConnection(address, port, timeout=5.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return body
    finally:
        connection.close()


def page_if_served(address: str, port: int, path: str = "/") -> bytes:
    """Nothing as long as nobody listens: a container runs before its server does."""
    try:
        return page(address, port, path)
    except OSError:
        return b""


def node_address() -> str:
    """The node's address on the way out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.connect(("192.0.2.1", 9))
        return str(wire.getsockname()[0])


@contextmanager
def udp_echo(pid: int, port: int) -> Iterator[None]:
    """Echoes datagrams in the network namespace of a process: busybox has no server for them."""

    def enter() -> socket.socket:
        with Path(f"/proc/{pid}/ns/net").open() as namespace:
            if _libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        wire.bind(("0.0.0.0", port))
        return wire

    # The namespace is the thread's; what was opened in it stays there when the thread is gone.
    with ThreadPoolExecutor(1) as pool:
        wire = pool.submit(enter).result()

    def echo() -> None:
        while data := wire.recvfrom(1024):
            if data[0] == b"stop":
                return
            wire.sendto(b"echo " + data[0], data[1])

    thread = Thread(target=echo)
    thread.start()
    try:
        yield
    finally:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_say_stop, pid, port).result()
        thread.join(10.0)
        wire.close()


def _say_stop(pid: int, port: int) -> None:
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        _libc.setns(namespace.fileno(), _CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.sendto(b"stop", ("127.0.0.1", port))


def datagram(address: str, port: int, text: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.settimeout(5.0)
        wire.connect((address, port))
        wire.send(text)
        return wire.recv(1024)


def kernel_limit(pid: int, limit: str) -> int:
    """The tightest number from the process's cgroup up to the root. CPU: microseconds a period."""
    controller, v1, v2 = _FILES[limit]
    found = []
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if names not in ("", controller):
            continue
        root = _CGROUP / names
        for folder in (root / path.lstrip("/"), *(root / path.lstrip("/")).parents):
            file = folder / (v1 if names else v2)
            if folder.is_relative_to(root) and file.exists():
                value = file.read_text().split()[0]
                found += [int(value)] if value.isdigit() else []
    assert found, f"no {limit} limit in any cgroup of {pid}"
    return min(found)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
