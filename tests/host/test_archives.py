"""Archives on the node: what is opened, what is refused and in which words, and what hangs."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from pathlib import Path

import pytest

from longshore.errors import (
    DeadlineExceeded,
    HostBusy,
    InvalidRequest,
    LongshoreError,
    PolicyForbids,
)
from longshore.host.archives import Archives

MS_NOSUID = 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    root.mkdir()
    (root / "web.tar").write_bytes(b"archive")
    (tmp_path / "secret").write_bytes(b"secret")
    return root


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_was_opened_is_what_is_read(root: Path) -> None:
    before = descriptors()
    with Archives([root]).opened(root / "web.tar") as path:
        (root / "web.tar").rename(root / "aside")
        (root / "web.tar").symlink_to("../secret")
        assert path.read_bytes() == b"archive"
    assert descriptors() == before


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("none.tar", InvalidRequest, "no such file or folder on this node"),
        ("web.tar/x", InvalidRequest, "no such file or folder on this node"),
        ("folder", InvalidRequest, "not a regular file"),
        ("fifo", InvalidRequest, "not a regular file"),
        ("link", PolicyForbids, "a symbolic link leads out of the allowed folders"),
        ("../secret", PolicyForbids, "a symbolic link leads out of the allowed folders"),
    ],
)
def test_what_is_refused(root: Path, name: str, kind: type[Exception], why: str) -> None:
    (root / "folder").mkdir()
    os.mkfifo(root / "fifo")
    (root / "link").symlink_to("../secret")
    before = descriptors()
    with pytest.raises(LongshoreError) as caught, Archives([root]).opened(root / name):
        pass
    assert type(caught.value) is kind
    assert caught.value.message == f"cannot load {root / name}: {why}"
    assert (caught.value.field, caught.value.object) == ("path", str(root / name))
    assert descriptors() == before


@pytest.mark.parametrize("below", ["", "/web.tar"])
def test_a_hung_file_system_holds_nobody(root: Path, below: str) -> None:
    hung = root / "hung"
    hung.mkdir()
    before = descriptors()
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"hung", os.fsencode(hung), b"fuse", MS_NOSUID, options) == 0
    archives = Archives([root], deadline=0.3)
    path = Path(f"{hung}{below}")
    try:
        with pytest.raises(DeadlineExceeded, match="cannot load"), archives.opened(path):
            pass
        with pytest.raises(HostBusy, match="still hangs"), archives.opened(path):
            pass
        with archives.opened(root / "web.tar") as other:
            assert other.read_bytes() == b"archive"
    finally:
        os.close(fuse)
        subprocess.run(["umount", "-l", str(hung)], check=True)
    for thread in threading.enumerate():
        if thread.name.startswith("may hang"):
            thread.join(10)
    assert descriptors() == before
