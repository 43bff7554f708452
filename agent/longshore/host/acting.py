"""What a thread is to the kernel when it writes for a container. Only for threads that end soon.

Both are a thread's own affair; glibc's functions for the process's user reach all threads, these
do not. See setfsuid(2), capabilities(7).
"""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_VERSION_3 = 0x20080522
#: Who has it is above quotas and the reserve of a file system.
_SYS_RESOURCE = 1 << 24


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def act_for(number: int) -> None:
    """From now on what the thread makes is this user's and group's, and quotas hold for it too.

    In a file system that knows the numbers of a user namespace alone, root of the node, which is
    none of them, could make nothing.

    Raises:
        OSError: as it says.
    """
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    _check(_LIBC.capget(ctypes.byref(header), data))
    data[0].effective &= ~_SYS_RESOURCE
    # Another user than root loses what it takes to write anywhere; so that is taken back.
    _LIBC.setfsgid(number)
    _LIBC.setfsuid(number)
    _check(_LIBC.capset(ctypes.byref(header), data))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
