"""libnftables: commands as text in, JSON out, each call one transaction. No `nft` is executed.

A context of the library is not safe for threads, so one lock guards it. There is no way to
interrupt the library in the middle of an exchange with the kernel; the deadline is on the lock.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import threading
from typing import Any

from longshore.errors import DeadlineExceeded, HostUnavailable
from longshore.host.netlink import DEADLINE

# JSON, with protocols as numbers: their names come from /etc/protocols, which may be missing.
_JSON = ctypes.c_uint(1 << 4 | 1 << 7)
_TEXT = ctypes.c_uint(0)
_LIBRARY = "libnftables.so.1"
# The library reports in words only: those of strerror, in whatever language it speaks.
_MISSING = os.strerror(errno.ENOENT)
_PRESENT = os.strerror(errno.EEXIST)


class Refused(Exception):
    """The kernel or the library refused a transaction, and nothing of it was done."""

    @property
    def missing(self) -> bool:
        """Something that it names is not there."""
        return _MISSING in str(self)

    @property
    def present(self) -> bool:
        """Something that it makes is there already."""
        return _PRESENT in str(self)


class Nftables:
    def __init__(self) -> None:
        """Raises HostUnavailable where the library is not installed."""
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise HostUnavailable(
                f"cannot use nftables: {error}", hint="install libnftables1"
            ) from error
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(self._library, name).restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(ctypes.c_uint(0)))
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        self._lock = threading.Lock()

    def run(self, script: str) -> None:
        """All of `script` or nothing.

        Raises:
            Refused: with the first line of what the library said.
            DeadlineExceeded: another thread's transaction did not end; nothing was done.
        """
        self._run(script, _TEXT)

    def list(self, what: str) -> list[dict[str, Any]]:
        """The objects that `list {what}` gives, without the metainfo; empty if it is missing."""
        try:
            objects = json.loads(self._run(f"list {what}", _JSON) or '{"nftables": []}')
        except Refused as refused:
            if refused.missing:
                return []
            raise
        return [one for one in objects["nftables"] if "metainfo" not in one]

    def close(self) -> None:
        with self._lock:
            self._library.nft_ctx_free(self._context)
            self._context = ctypes.c_void_p(None)

    def _run(self, script: str, flags: ctypes.c_uint) -> bytes:
        if not self._lock.acquire(timeout=DEADLINE):
            raise DeadlineExceeded(f"cannot change the firewall: busy for {DEADLINE:g} s")
        try:
            if not self._context:
                raise HostUnavailable("cannot change the firewall: the agent is stopping")
            self._library.nft_ctx_output_set_flags(self._context, flags)
            failed = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
            # Reading a buffer empties it, so both are read, whatever came of it.
            output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
            words: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        finally:
            self._lock.release()
        if failed:
            raise Refused(words.decode("utf-8", "replace").partition("\n")[0])
        return output
