"""A container's network namespace: a file that holds it, and a socket into it.

Namespaces belong to threads, so a throw-away thread enters one, opens the netlink socket
there and ends; the socket stays in the namespace. One that belongs to a container's user namespace
is made by a short program (namespaces.py), and found like the others.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from longshore.host import sysctl
from longshore.host.idmap import unmount
from longshore.host.mounts import bind_file
from longshore.host.namespaces import holds, network_namespace_in
from longshore.host.netlink import DEADLINE, Netlink

_CLONE_NEWNET = 0x40000000
#: The bridge lets only IPv4 and ARP with the container's own addresses pass, so an IPv6
#: address would only make programs try what cannot work. Loopback keeps its ::1.
_NO_IPV6 = "net/ipv6/conf/default/disable_ipv6"

_T = TypeVar("_T")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Inside:
    """An open namespace: `fd` names it to the kernel, `links` configures what is in it."""

    fd: int
    links: Netlink


def ensure(path: Path, userns: Path | None = None) -> None:
    """Makes the namespace held at `path`, with nothing in it, if it is not there.

    A namespace that is there is never replaced; a file that holds none is.

    Args:
        userns: holds the user namespace that it belongs to; None: the node's.

    Raises:
        OSError, TimeoutError: from the kernel.
        HostFailed, DeadlineExceeded: it cannot be made in `userns`.
    """
    if exists(path):
        return
    if userns is None:
        _made(path, _make)
        return
    with network_namespace_in(userns) as file:
        _made(path, partial(_hold, file))


@contextmanager
def opened(path: Path) -> Iterator[Inside]:
    """The namespace held at `path`, made as by `ensure` if it is not there.

    Raises:
        OSError, TimeoutError: from the kernel.
    """
    links = in_thread(partial(_enter, path)) if exists(path) else _made(path, _make_and_stay)
    with links:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield Inside(fd, links)
        finally:
            os.close(fd)


def exists(path: Path) -> bool:
    """Whether `path` holds a network namespace."""
    return holds(path, _CLONE_NEWNET)


def remove(path: Path) -> None:
    """Lets go of the namespace; the kernel ends it once no process is in it."""
    unmount(path)
    path.unlink(missing_ok=True)


def in_thread(work: Callable[[], _T]) -> _T:
    """Runs `work` in a thread of its own, which may change its namespaces and then ends.

    Raises:
        TimeoutError: it did not end in time.
    """
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netns")
    try:
        return executor.submit(work).result(DEADLINE)
    finally:
        executor.shutdown(wait=False)


def enter(path: Path) -> None:
    """Moves the calling thread, which ought to be a throw-away one, into the namespace."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked("setns", _libc.setns(fd, _CLONE_NEWNET))
    finally:
        os.close(fd)


@contextmanager
def visited(path: Path) -> Iterator[None]:
    """The calling thread is in the namespace for as long as this takes: a system call or two that
    are not worth a thread. Raises OSError."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(path)
        try:
            yield
        finally:
            # By a descriptor that is open and the right that let it in: it cannot fail.
            _checked("setns", _libc.setns(home, _CLONE_NEWNET))
    finally:
        os.close(home)


def _enter(path: Path) -> Netlink:
    enter(path)
    return Netlink()


def _made(path: Path, make: Callable[[Path], _T]) -> _T:
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o444, exist_ok=False)
    try:
        return in_thread(partial(make, path))
    except OSError:
        remove(path)
        raise


def _hold(namespace: Path, path: Path) -> None:
    enter(namespace)
    _keep(path)


def _make_and_stay(path: Path) -> Netlink:
    _make(path)
    return Netlink()


def _make(path: Path) -> None:
    _checked("unshare", _libc.unshare(_CLONE_NEWNET))
    _keep(path)


def _keep(path: Path) -> None:
    """Binds the namespace of this thread."""
    bind_file(Path("/proc/thread-self/ns/net"), path)
    # /proc/sys/net shows the namespace of the thread that looks.
    sysctl.ensure(_NO_IPV6, "1")


def _checked(call: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
