"""Whom a process runs as: from text alone, and from layers that nobody vouches for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from longshore.errors import StartFailed
from longshore.host.containerd import layers, users
from longshore.model.host import User

PASSWD = """root:x:0:0:root:/root:/bin/sh
# a comment
app:x:1000:1001::/home/app:/bin/sh
4242:x:7:7::/odd:/bin/sh
broken:x:no:1::/:/bin/sh
homeless:x:5:5:::
"""
GROUP = """root:x:0:
wheel:x:10:root,app
app:x:1001:
extra:x:2000:other,app
nobody
"""


def test_groups_beside_the_users_own() -> None:
    found = users.resolve("app", PASSWD, GROUP, ["wheel", "3000", "extra"])
    assert found == User(1000, 1001, (10, 2000, 3000), "/home/app")
    assert users.resolve("app:extra", PASSWD, GROUP, ["wheel"]).groups == (10,)
    assert users.resolve("77", PASSWD, GROUP, ["app"]).groups == (1001,)
    with pytest.raises(StartFailed, match="nogroup") as caught:
        users.resolve("app", PASSWD, GROUP, ["wheel", "nogroup"])
    assert caught.value.field == "groups[1]"


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("", User(0, 0, (10,), "/root")),
        ("root", User(0, 0, (10,), "/root")),
        ("app", User(1000, 1001, (10, 2000), "/home/app")),
        ("1000", User(1000, 1001, (10, 2000), "/home/app")),
        ("app:extra", User(1000, 2000, (), "/home/app")),
        ("app:2001", User(1000, 2001, (), "/home/app")),
        ("1234", User(1234, 0, (), "/")),
        ("1234:5678", User(1234, 5678, (), "/")),
        ("4242", User(4242, 0, (), "/")),
        ("homeless", User(5, 5, (), "/")),
    ],
)
def test_names_and_numbers(text: str, user: User) -> None:
    assert users.resolve(text, PASSWD, GROUP) == user


def test_numbers_need_no_files() -> None:
    assert users.resolve("12:34", "", "") == User(12, 34, (), "/")
    assert users.resolve("", "", "") == User(0, 0, (), "/root")


@pytest.mark.parametrize("text", ["nobody", "app:nogroup", "broken", "2147483648", "1:2147483648"])
def test_who_is_not_there(text: str) -> None:
    with pytest.raises(StartFailed) as caught:
        users.resolve(text, PASSWD, GROUP)
    assert caught.value.field == "user"


@pytest.fixture
def stack(tmp_path: Path) -> list[Path]:
    """Three layers, topmost first."""
    found = [tmp_path / name for name in ("upper", "middle", "lower")]
    for layer in found:
        layer.mkdir()
    return found


def read(stack: list[Path], path: str = "etc/passwd") -> bytes | None:
    return layers.read([str(layer) for layer in stack], path, 1000)


def put(layer: Path, path: str, text: str) -> None:
    (layer / path).parent.mkdir(parents=True, exist_ok=True)
    (layer / path).write_text(text)


def whiteout(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, 0o600 | 0o020000, 0)


def test_the_topmost_file_counts(stack: list[Path]) -> None:
    assert read(stack) is None
    put(stack[2], "etc/passwd", "lower")
    assert read(stack) == b"lower"
    put(stack[1], "etc/group", "other")
    assert read(stack) == b"lower"
    put(stack[0], "etc/passwd", "upper")
    assert read(stack) == b"upper"


def test_what_was_deleted_is_not_there(stack: list[Path]) -> None:
    put(stack[2], "etc/passwd", "lower")
    whiteout(stack[1] / "etc/passwd")
    assert read(stack) is None
    put(stack[0], "etc/passwd", "upper")
    assert read(stack) == b"upper"


def test_a_deleted_folder_hides_what_is_below(stack: list[Path]) -> None:
    put(stack[2], "etc/passwd", "lower")
    whiteout(stack[1] / "etc")
    assert read(stack) is None


def test_a_folder_made_anew_hides_what_is_below(stack: list[Path]) -> None:
    put(stack[2], "etc/passwd", "lower")
    put(stack[1], "etc/group", "x")
    os.setxattr(stack[1] / "etc", "trusted.overlay.opaque", b"y")
    assert read(stack) is None


def test_links_are_followed_within_the_layers(stack: list[Path]) -> None:
    put(stack[2], "usr/etc/passwd", "real")
    (stack[1] / "etc").symlink_to("/usr/etc")
    assert read(stack) == b"real"
    (stack[0] / "usr/etc").mkdir(parents=True)
    (stack[0] / "usr/etc/passwd").symlink_to("../../../../../../usr/etc/other")
    assert read(stack) is None
    put(stack[2], "usr/etc/other", "other")
    assert read(stack) == b"other"


def test_a_link_never_leads_out(stack: list[Path], tmp_path: Path) -> None:
    put(tmp_path, "secret", "of the node")
    for target in (str(tmp_path / "secret"), "../../secret", "../../../../../../etc/passwd"):
        (stack[0] / "etc").mkdir(exist_ok=True)
        (stack[0] / "etc/passwd").symlink_to(target)
        try:
            found = read(stack)
        except OSError:
            found = None
        assert found is None
        (stack[0] / "etc/passwd").unlink()


def test_what_is_no_regular_file_is_not_opened(stack: list[Path]) -> None:
    (stack[0] / "etc").mkdir()
    passwd = stack[0] / "etc/passwd"
    os.mkfifo(passwd)
    with pytest.raises(OSError, match="not a regular file"):
        read(stack)
    passwd.unlink()
    passwd.mkdir()
    with pytest.raises(IsADirectoryError):
        read(stack)
    passwd.rmdir()
    passwd.symlink_to("passwd")
    with pytest.raises(OSError, match="symbolic links"):
        read(stack)


def test_as_overlayfs_itself_stacks_them(stack: list[Path], tmp_path: Path) -> None:
    """The same changes, made through a real overlay, read the same way through both."""
    upper, middle, lower = stack
    put(lower, "etc/passwd", "lower")
    put(lower, "usr/etc/group", "lower group")
    put(middle, "etc/group", "middle group")
    merged, work = tmp_path / "merged", tmp_path / "work"
    merged.mkdir()
    work.mkdir()
    options = f"lowerdir={middle}:{lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
    try:
        for change in (
            "true",
            "rm etc/group",
            "rm -r etc; mkdir etc; echo new > etc/group",
            "ln -s group etc/passwd",
            "rm -r etc; ln -s usr/etc etc",
        ):
            subprocess.run(["sh", "-ec", change], cwd=merged, check=True)
            for path in ("etc/passwd", "etc/group"):
                seen = merged / path
                expected = seen.read_bytes() if seen.exists() else None
                assert read(stack, path) == expected, change
    finally:
        subprocess.run(["umount", merged], check=True)


def test_which_layers_a_snapshot_has() -> None:
    overlay = [("overlay", "overlay", ["workdir=/w", "upperdir=/u", "lowerdir=/a:/b"])]
    assert layers.folders(overlay) == ("/u", "/a", "/b")
    assert layers.folders([("bind", "/fs", ["rw", "rbind"])]) == ("/fs",)
    unknowns: list[list[tuple[str, str, list[str]]]] = [
        [],
        [("ext4", "/dev/x", [])],
        [*overlay, *overlay],
    ]
    for unknown in unknowns:
        with pytest.raises(ValueError, match="mounts of type"):
            layers.folders(unknown)
