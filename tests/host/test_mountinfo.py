"""What the kernel's table of mounts says, read as it writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from longshore.host.mountinfo import containing, mount_points

_TABLE = """\
20 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 20 0:40 / /data\\040of\\040one rw,nosuid - tmpfs one rw,size=1024k
32 20 0:41 /inner /c/two/x ro shared:7 master:3 - tmpfs two rw
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(_TABLE)
    return file


def test_every_line_is_understood(table: Path) -> None:
    root, one, two = mount_points(table)
    assert (root.path, root.peers, root.master) == (Path("/"), 1, None)
    assert (one.path, one.peers) == (Path("/data of one"), None)
    assert {"rw", "nosuid", "size=1024k"} <= one.options
    assert (two.id, two.root, two.peers, two.master) == (32, Path("/inner"), 7, 3)
    assert two.filesystem == "tmpfs"
    assert containing(Path("/c/two/x/y"), mount_points(table)) == two
    assert containing(Path("/c/two"), mount_points(table)) == root


@pytest.mark.parametrize(
    ("word", "ids"), [("", [20, 31, 32]), (" shared:", [20, 32]), ("/c/two", [32]), ("/c/no", [])]
)
def test_only_lines_that_hold_the_word(table: Path, word: str, ids: list[int]) -> None:
    assert [one.id for one in mount_points(table, word)] == ids
