"""Tars as tests send and get them, made and read by Python's own tarfile."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import Any

from longshore.local.client import LocalClient


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """`fields` of TarInfo: type, linkname, mode, uid, gid, mtime, size."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def unpacked(tar: bytes) -> Mapping[str, tuple[tarfile.TarInfo, bytes]]:
    """By name: the header, and a file's content."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() or info.islnk() else None
            found[info.name] = (info, file.read() if file else b"")
    return found


def out(client: LocalClient, ref: str, path: str) -> Mapping[str, tuple[tarfile.TarInfo, bytes]]:
    """What is copied out, by name."""
    _, pieces = client.copy_out(ref, path)
    return unpacked(b"".join(pieces))


def content(client: LocalClient, ref: str, path: str) -> bytes:
    """Of one file."""
    ((_, data),) = out(client, ref, path).values()
    return data


def put(client: LocalClient, ref: str, path: str, tar: bytes, **how: Any) -> int:
    return client.copy_in(ref, path, lambda: [tar], **how)
