"""Which program of the node's can be a container's init, and what is said when none can."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from longshore.errors import InvalidSpec
from longshore.host.init import Init
from longshore.model.spec import parse

ID = "6f2c1f2e-7f0b-4a0e-9d3a-0123456789ab"
ASKING = parse({"id": ID, "name": "web", "image": "x", "init": True})


def test_the_first_that_is_there(tmp_path: Path) -> None:
    init = Init("auto", [str(tmp_path / "none"), "/usr/bin/catatonit", "/usr/bin/tini-static"])
    assert init.path() == "/usr/bin/catatonit"
    assert init.lack() is None
    init.check(ASKING)
    assert Init("/bin/busybox").path() == "/bin/busybox"


def test_one_that_is_installed_later(tmp_path: Path) -> None:
    place = tmp_path / "init"
    init = Init("auto", [str(place)])
    assert init.lack() == f"the node has no {place}"
    place.symlink_to("/usr/bin/catatonit")
    assert init.path() == str(place)


def program(tmp_path: Path, data: bytes, mode: int = 0o755) -> str:
    file = tmp_path / "init"
    file.write_bytes(data)
    file.chmod(mode)
    return str(file)


def elf32(kind: int) -> bytes:
    """As little of one as tells of a program header of that kind; big endian."""
    data = bytearray(b"\x7fELF" + bytes([1, 2]) + bytes(46))
    struct.pack_into(">I", data, 28, 52)
    struct.pack_into(">HH", data, 42, 32, 1)
    return bytes(data) + struct.pack(">I", kind) + bytes(28)


@pytest.mark.parametrize(
    ("data", "mode", "why"),
    [
        (b"#!/bin/sh\n", 0o755, "is no ELF program"),
        (b"\x7fELF\x02\x01", 0o755, "is no ELF program"),
        (Path("/usr/bin/tini").read_bytes(), 0o755, "is not static: it would need libraries"),
        (elf32(3), 0o755, "is not static: it would need libraries"),
        (elf32(1), 0o644, "cannot be executed"),
    ],
)
def test_what_cannot_be_one(tmp_path: Path, data: bytes, mode: int, why: str) -> None:
    path = program(tmp_path, data, mode)
    with pytest.raises(InvalidSpec, match="cannot create container web: init: ") as caught:
        Init(path).check(ASKING)
    assert f"{path} {why}" in str(caught.value)
    assert caught.value.field == "init"
    assert "install catatonit or tini" in str(caught.value.hint)
    Init(path).check(ASKING.model_copy(update={"init": False}))


def test_a_static_one_of_another_machine(tmp_path: Path) -> None:
    assert Init(program(tmp_path, elf32(1))).lack() is None
