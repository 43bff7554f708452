"""A FUSE file system of one empty folder that answers for as long as it is told to.

The protocol's numbers are those of linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MS_NOSUID = 2
_LOOKUP, _FORGET, _GETATTR, _STATFS, _INIT = 1, 2, 3, 17, 26
_OPENDIR, _READDIR, _RELEASEDIR, _BATCH_FORGET = 27, 28, 29, 42
_SILENT = (_FORGET, _BATCH_FORGET)
_IN, _OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
_READ = 1 << 17


def mount_fuse(at: Path) -> int:
    """Mounts a file system whose server is whoever reads the descriptor that is returned."""
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.mount(b"hung", os.fsencode(at), b"fuse", MS_NOSUID, options)
    assert result == 0, os.strerror(ctypes.get_errno())
    return fd


class Fuse:
    """`silence` ends its answers for ever; what asks then is held in the kernel."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._silent = threading.Event()
        self.held = threading.Event()
        self._ending, self._end = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def silence(self) -> None:
        self._silent.set()

    def close(self) -> None:
        """Ends the connection: who is held gets an error."""
        os.close(self._end)
        self._thread.join()
        os.close(self._ending)
        os.close(self._fd)

    def _serve(self) -> None:
        # A read that waits would keep the connection though its descriptor is closed.
        while self._ending not in select.select([self._fd, self._ending], [], [])[0]:
            try:
                request = os.read(self._fd, _READ)
            except OSError as gone:
                if gone.errno != errno.ENODEV:
                    raise
                return  # unmounted, and nobody held it
            _, opcode, unique, *_ = _IN.unpack_from(request)
            if opcode in _SILENT:
                continue
            if self._silent.is_set():
                self.held.set()
                continue
            error, body = _answer(opcode)
            os.write(self._fd, _OUT.pack(_OUT.size + len(body), -error, unique) + body)


@contextmanager
def served(at: Path) -> Iterator[Fuse]:
    """Mounted at that folder; gone at the end, and whoever it held goes on with an error."""
    fuse = Fuse(mount_fuse(at))
    try:
        yield fuse
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)
        fuse.close()


def _answer(opcode: int) -> tuple[int, bytes]:
    if opcode == _INIT:
        return 0, struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 9, 4096, 1, 0, 0, 0)
    if opcode == _GETATTR:
        folder = (0o40755, 2, 0, 0, 0, 4096, 0)
        return 0, struct.pack("<QII6Q3I7I", 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, *folder)
    if opcode == _OPENDIR:
        return 0, struct.pack("<QII", 0, 0, 0)
    if opcode == _STATFS:
        return 0, struct.pack("<5QIIII24x", 0, 0, 0, 0, 0, 512, 255, 0, 0)
    if opcode == _LOOKUP:
        return errno.ENOENT, b""
    return (0, b"") if opcode in (_READDIR, _RELEASEDIR) else (errno.ENOSYS, b"")
