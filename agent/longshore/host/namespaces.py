"""Namespaces that no thread of the agent can make: user namespaces, and what belongs to them.

A process with several threads may neither make nor enter one (unshare(2), setns(2)). So a short
program does it, util-linux's unshare; what it made is held as long as `made` lasts, or where it is
bound meanwhile. It waits at a pipe, so it ends when the agent does, however that comes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from longshore.errors import DeadlineExceeded, HostFailed, HostUnavailable
from longshore.model.host import Ids

#: Seconds for it to start and make the namespace.
DEADLINE = 10.0
_UNSHARE, _NSENTER, _CAT = "/usr/bin/unshare", "/usr/bin/nsenter", "/usr/bin/cat"
_NS_GET_NSTYPE = 0xB703
_READY = b"\n"
_COMPLAINT_MAX = 4096
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


@contextmanager
def user_namespace(*maps: tuple[int, int, int]) -> Iterator[Path]:
    """The file of a new user namespace, gone at the end unless something holds it.

    Args:
        maps: of users and groups alike: first number inside, first number of the node, how many.

    Raises:
        HostUnavailable: the kernel or the node's settings do not let us.
        HostFailed, DeadlineExceeded: as they say.
    """
    with _made("a user namespace", [_UNSHARE, "--user", _CAT]) as folder:
        lines = "".join("{} {} {}\n".format(*one) for one in maps)
        try:
            for name in ("uid_map", "gid_map"):
                (folder.parent / name).write_text(lines)
        except OSError as error:
            raise HostUnavailable(
                f"cannot map the users of a user namespace: {error.strerror}",
                hint="the agent needs CAP_SETUID, CAP_SETGID and CAP_SETFCAP",
            ) from error
        yield folder / "user"


@contextmanager
def network_namespace_in(userns: Path) -> Iterator[Path]:
    """The file of a new network namespace that belongs to the user namespace held at `userns`.

    Raises:
        HostFailed, DeadlineExceeded: as they say.
    """
    enter = [_NSENTER, f"--user={userns}", _UNSHARE, "--net", _CAT]
    with _made("a network namespace in a user namespace", enter) as folder:
        yield folder / "net"


def holds(path: Path, kind: int) -> bool:
    """Whether a namespace of that kind (its CLONE_NEW… flag) is held at `path`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return fcntl.ioctl(fd, _NS_GET_NSTYPE) == kind
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return False
        raise
    finally:
        os.close(fd)


def container_map(ids: Ids) -> tuple[int, int, int]:
    """The container's numbers to the node's: for its processes, and for what they are to see."""
    return (0, ids.first, ids.size)


def node_map(ids: Ids) -> tuple[int, int, int]:
    """The other way: files with the node's numbers seen with the container's."""
    return (ids.first, 0, ids.size)


@contextmanager
def _made(what: str, command: list[str]) -> Iterator[Path]:
    """`/proc/PID/ns` of the program, which has run up to its last word, cat."""
    with ExitStack() as ours, ExitStack() as theirs:
        theirs_in, out = _pipe(theirs, ours)
        back, theirs_out = _pipe(ours, theirs)
        try:
            pid = os.posix_spawn(
                command[0],
                command,
                _ENVIRONMENT,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs_in, 0),
                    (os.POSIX_SPAWN_DUP2, theirs_out, 1),
                    (os.POSIX_SPAWN_DUP2, theirs_out, 2),
                ],
                setsigmask=(),
                setsigdef=(signal.SIGPIPE,),
            )
        except OSError as error:
            raise HostUnavailable(
                f"cannot make {what}: {command[0]}: {error.strerror}", hint="install util-linux"
            ) from error
        theirs.close()
        try:
            _wait_ready(what, out, back)
            yield Path(f"/proc/{pid}/ns")
        finally:
            _end(pid)


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """The ends to read from and to write to, each closed by its stack."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write


def _end(pid: int) -> None:
    """One that the kernel holds up is left to a thread: nobody needs it any more."""
    os.kill(pid, signal.SIGKILL)
    process = os.pidfd_open(pid)
    try:
        ended = _is_ready(process, DEADLINE)
    finally:
        os.close(process)
    if ended:
        os.waitpid(pid, 0)
    else:
        threading.Thread(target=os.waitpid, args=(pid, 0), name=f"ends {pid}", daemon=True).start()


def _is_ready(fd: int, seconds: float) -> bool:
    """Whether it can be read in time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _wait_ready(what: str, out: int, back: int) -> None:
    """Until it hands back what it was given: then unshare has done its work and is cat."""
    with suppress(BrokenPipeError):  # It has ended; what it said is to be read.
        os.write(out, _READY)
    until = time.monotonic() + DEADLINE
    said = b""
    while said != _READY:
        if not _is_ready(back, until - time.monotonic()):
            raise DeadlineExceeded(f"cannot make {what}: not done within {DEADLINE:g} s")
        piece = os.read(back, _COMPLAINT_MAX)
        if not piece or len(said) > _COMPLAINT_MAX:
            why = " ".join(said.decode(errors="replace").split()) or "the program ended"
            raise HostFailed(
                f"cannot make {what}: {why}", hint="sysctl user.max_user_namespaces may be used up"
            )
        said += piece
