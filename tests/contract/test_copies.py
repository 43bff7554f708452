"""What lifecycle relies on of a container's files, in memory and real."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.tars import member, packed
from longshore.errors import PathNotFound
from longshore.lifecycle.ports import Host
from longshore.lifecycle.ports.copying import Copies
from longshore.lifecycle.steps import rootfs
from longshore.model.copying import Files, Unpacking
from longshore.model.names import Names


def test_a_file_in_and_out(host: Host, copies: Copies, names: Names, tmp_path: Path) -> None:
    image = host.images.get("busybox")
    host.rootfs.prepare(names, image)
    files = Files(names, "web", runs=False, mounts=(), ids=None)
    tar, other = tmp_path / "tar", tmp_path / "other"
    tar.write_bytes(packed(member("file", b"content", uid=7)))
    other.write_bytes(packed(member("file", b"another", uid=7)))
    assert copies.digest(tar) == copies.digest(tar) != copies.digest(other)
    try:
        assert list(copies.differences(names, image.chain_id, None)) == []
        with pytest.raises(PathNotFound):
            copies.read(files, "/file", follow_link=False)
        assert copies.write(files, "/", tar, Unpacking(None, replace=False)) == 1
        status, pieces = copies.read(files, "/file", follow_link=False)
        assert (status.name, status.size) == ("file", len(b"content"))
        assert b"content" in b"".join(pieces)
        _, unread = copies.read(files, "/file", follow_link=False)
        unread.close()
        (one,) = copies.differences(names, image.chain_id, None)
        assert (one.path, one.kind) == ("/file", "added")
    finally:
        rootfs.STEP.undo(host, names)
