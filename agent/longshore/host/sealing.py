"""Values of secrets, encrypted under a key that this node alone has.

What is journalled survives an agent and a reboot, and is of no use to who reads a copy of the
journal alone. AES-256 in GCM (NIST SP 800-38D) with a random nonce before the ciphertext; what a
value belongs to is authenticated with it, so that one cannot be put in another's place.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from longshore.errors import HostFailed
from longshore.host.placing import place, sync_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY, _NONCE, _MODE = 32, 12, 0o600


class Sealing:
    """Thread-safe.

    Args:
        file: the key; made, on the disk, when something is sealed for the first time.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._guard = threading.Lock()
        self._known: bytes | None = None

    def seal(self, what: str, value: bytes) -> str:
        """Args:
            what: whose value it is; `open` needs the same.

        Raises:
            HostFailed: the key cannot be read or made.
        """
        nonce = os.urandom(_NONCE)
        sealed = self._cipher(make=True).encrypt(nonce, value, what.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, what: str, sealed: str) -> bytes:
        """Raises HostFailed: sealed for something else, under another key, or damaged."""
        # As below: what encrypts takes 9 MB, and most nodes have no secrets.
        from cryptography.exceptions import InvalidTag

        try:
            whole = base64.b64decode(sealed, validate=True)
            nonce, data = whole[:_NONCE], whole[_NONCE:]
            return self._cipher(make=False).decrypt(nonce, data, what.encode())
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise HostFailed(
                f"cannot open the secret of {what}: it was not sealed under {self._file}, or is "
                "damaged",
                object=what,
                hint="create the container again",
            ) from error

    def mark(self, value: bytes) -> str:
        """HMAC-SHA-256 (RFC 2104) under the key. Raises HostFailed: as `seal`."""
        return hmac.new(self._key(make=True), value, "sha256").hexdigest()

    def _cipher(self, *, make: bool) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key(make=make))

    def _key(self, *, make: bool) -> bytes:
        with self._guard:
            if self._known is None:
                try:
                    self._known = self._read(make=make)
                except OSError as error:
                    raise HostFailed(
                        f"cannot use the node's key {self._file}: {error.strerror}",
                        object=str(self._file),
                    ) from error
            return self._known

    def _read(self, *, make: bool) -> bytes:
        try:
            key = self._file.read_bytes()
        except FileNotFoundError:
            made = self._file.with_suffix(".made")
            if made.exists():
                raise HostFailed(
                    f"cannot use the node's key {self._file}: it is gone, and secrets were sealed "
                    "under it",
                    object=str(self._file),
                    hint=f"bring it back from a backup, or remove {made} to begin with a new one: "
                    "containers with older secrets must be created again then",
                ) from None
            if not make:
                raise
            key = os.urandom(_KEY)
            place(self._file, key, mode=_MODE, durable=True)
            place(made, b"", mode=_MODE, durable=True)
            sync_folder(self._file.parent)
        if len(key) != _KEY:
            raise HostFailed(
                f"cannot use the node's key {self._file}: it has {len(key)} bytes, not {_KEY}",
                object=str(self._file),
            )
        return key
