"""What a request puts into a container: small files, secrets, the owner's public keys."""

from __future__ import annotations

import base64
import binascii
import mmap
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    SerializationInfo,
    field_serializer,
    model_validator,
)

from longshore.model.values import AbsolutePath, Id, Mode, Name, Part, no_nul, octets

#: Bytes of one file, and of all of a container's together.
FILE_MAX, FILES_MAX = 64 * 2**10, 512 * 2**10
#: Bytes of a secret.
SECRET_MAX = 64 * 2**10
#: Bytes by which an encrypted one is longer: AES-GCM's nonce and tag.
SEALED_MORE = 28
#: A serialisation with this context keeps the values of secrets: for the wire, nothing else.
REVEAL = {"reveal": True}
_KEY_TYPES = (
    "ssh-ed25519 ssh-rsa ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 "
    "sk-ssh-ed25519@openssh.com sk-ecdsa-sha2-nistp256@openssh.com"
).split()

Encoding = Literal["text", "base64"]


class File(Part):
    """A file at `target` that has this content whenever the container starts. It may change it, as
    its mode says and unless its root file system is read-only, until it stops; all of its files,
    the node's in /etc too, may together grow by 1 MiB.

    Args:
        content: None only where the agent shows what was asked for: it gives no content away.
        encoding: of `content`.
        uid, gid: numbers inside the container.
    """

    target: AbsolutePath
    content: Annotated[str, Field(max_length=FILE_MAX * 4 // 3 + 4)] | None = None
    encoding: Encoding = "text"
    mode: Mode = 0o644
    uid: Id = 0
    gid: Id = 0

    @property
    def data(self) -> bytes:
        return octets(self.content or "", self.encoding)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.data) > FILE_MAX:
            raise ValueError(f"content must be at most {FILE_MAX} bytes")
        return self


class Secret(Part):
    """A file that is kept in memory alone, at `target`; None: /run/secrets/NAME.

    Args:
        value: the secret itself; it leaves this object for the wire alone.
        reference: name of one that the node has.
        uid, gid: numbers inside the container.
    """

    name: Name
    value: SecretStr | None = None
    encoding: Encoding = "text"
    reference: Name | None = None
    target: AbsolutePath | None = None
    mode: Mode = 0o400
    uid: Id = 0
    gid: Id = 0

    @property
    def place(self) -> str:
        return self.target or f"/run/secrets/{self.name}"

    @property
    def data(self) -> bytes | None:
        """None: it is no value that came with the request."""
        return None if self.value is None else octets(self.value.get_secret_value(), self.encoding)

    @property
    def memory(self) -> int:
        """Bytes that its file takes, whole pages; of a reference, the most that it can come to."""
        return self.memory_of(None)

    def memory_of(self, sealed: str | None) -> int:
        """The same, where its value is kept encrypted."""
        size = SECRET_MAX
        if self.data is not None:
            size = len(self.data)
        elif sealed is not None:
            size = len(base64.b64decode(sealed)) - SEALED_MORE
        return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.value is not None and self.reference is not None:
            raise ValueError("has a value and a reference; one is enough")
        if len(self.data or b"") > SECRET_MAX:
            raise ValueError(f"value must be at most {SECRET_MAX} bytes")
        return self

    @field_serializer("value")
    def _hidden(self, value: SecretStr | None, info: SerializationInfo) -> str | None:
        reveals = isinstance(info.context, dict) and info.context.get("reveal")
        return value.get_secret_value() if value is not None and reveals else None


def _public_key(text: str) -> str:
    """One line of authorized_keys(5) without options: type, base64, perhaps a comment."""
    kind, _, rest = no_nul(text).strip().partition(" ")
    if "\n" in text.strip() or "\r" in text:
        raise ValueError("must be one line")
    if kind not in _KEY_TYPES:
        raise ValueError(f"must begin with the key's type, such as {_KEY_TYPES[0]}")
    try:
        blob = base64.b64decode(rest.partition(" ")[0], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("has no base64 after the key's type") from error
    # RFC 4253, 6.6: the blob begins with the length and name of its own type.
    if blob[4 : 4 + len(kind)] != kind.encode() or int.from_bytes(blob[:4]) != len(kind):
        raise ValueError(f"is no key of type {kind}")
    return text.strip()


class KeyPair(Part):
    """The public half: ~/.ssh/authorized_keys of the container's user. `name`: the cloud's."""

    name: Name
    public_keys: Annotated[
        tuple[Annotated[str, Field(max_length=16384), AfterValidator(_public_key)], ...],
        Field(min_length=1, max_length=32),
    ]
