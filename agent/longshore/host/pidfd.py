"""pidfd_getfd(2) by ctypes: another process's descriptor as one's own."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

#: The same number on every architecture.
_PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def borrowed(pid: int, descriptor: int) -> Iterator[int]:
    """It stands for the same open file: flags and offset are shared.

    Raises:
        OSError: the process or its descriptor is gone, or may not be looked into.
    """
    process = os.pidfd_open(pid)
    try:
        file: int = _libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
        if file < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        try:
            yield file
        finally:
            os.close(file)
    finally:
        os.close(process)
