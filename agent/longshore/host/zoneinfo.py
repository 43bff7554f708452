"""The node's time zones: tz's compiled files, as Debian's tzdata has them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from longshore.errors import InvalidSpec
from longshore.host.mounts import open_beneath

FOLDER = Path("/usr/share/zoneinfo")
#: RFC 9636: how each file begins.
_MAGIC = b"TZif"
#: Bytes; the largest zone has less than four thousand.
_MOST = 65536


def read(zone: str, folder: Path = FOLDER) -> bytes:
    """The file of a zone such as Europe/Berlin.

    Raises:
        InvalidSpec: this node has none of that name.
    """
    try:
        data = _content(folder, Path(zone))
    except OSError as error:
        raise _unknown(zone, error.strerror or "") from error
    if data is None:
        raise _unknown(zone, "that is no time zone")
    return data


def _content(folder: Path, zone: Path) -> bytes | None:
    """Links are followed beneath the folder: many a zone is another name of one."""
    top = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = open_beneath(top, zone)
    finally:
        os.close(top)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            return None
        with open(f"/proc/self/fd/{place}", "rb") as file:
            data = file.read(_MOST)
    finally:
        os.close(place)
    return data if data.startswith(_MAGIC) else None


def _unknown(zone: str, why: str) -> InvalidSpec:
    reason = f"this node has no time zone {zone}: {why[:1].lower() + why[1:]}"
    return InvalidSpec(
        f"cannot set the time zone: {reason}",
        field="timezone",
        object=zone,
        hint="its operator can install Debian's tzdata, or tzdata-legacy for old names",
        details={"faults": [{"field": "timezone", "why": reason}]},
    )
