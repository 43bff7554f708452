"""Which files of a container's layer are there only because something was mounted on them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from longshore.host.containerd import mountpoints

BASE = "mkdir -p etc var/dir; echo x > etc/passwd; ln -s var/dir link"


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    return filled(tmp_path / "lower", BASE)


def filled(folder: Path, script: str) -> Path:
    folder.mkdir()
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize(
    ("script", "targets", "made"),
    [
        ("mkdir etc; touch etc/hosts", ["/etc/hosts"], ["etc/hosts"]),
        ("mkdir etc; echo x > etc/hosts", ["/etc/hosts"], []),
        ("mkdir etc; touch etc/hosts etc/other", ["/etc/hosts"], ["etc/hosts"]),
        ("mkdir etc; touch etc/passwd", ["/etc/passwd"], []),
        ("mkdir proc dev", ["/proc", "/dev", "/dev/pts"], ["dev", "proc"]),
        ("mkdir -p a/b/c a/d", ["/a/b/c", "/a/d"], ["a"]),
        ("mkdir -p a/b/c a/d a/own", ["/a/b/c", "/a/d"], ["a/b", "a/d"]),
        ("mkdir -p a/b; touch a/b/own", ["/a/b"], []),
        ("mkdir -p a; ln -s x a/b", ["/a/b"], []),
        ("mkdir -p a; mkfifo a/b", ["/a/b"], []),
        ("mkdir -p var; ln -s / var/dir", ["/var/dir/x", "/var/dir/etc"], []),
        ("touch f", ["/f/x"], []),
        ("mkdir -p var/dir/x", ["/link/x", "/var/../etc", "/"], []),
        ("true", ["/none", "/etc/none"], []),
        ("mkdir -p " + "d/" * 70, ["/" + "d/" * 70], []),
    ],
)
def test_what_the_runtime_made(
    lower: Path, tmp_path: Path, script: str, targets: list[str], made: list[str]
) -> None:
    upper = filled(tmp_path / "upper", script)
    found = mountpoints.made(str(upper), [str(lower)], targets)
    assert sorted(map(str, found)) == made


def test_hidden_from_sight(lower: Path, tmp_path: Path) -> None:
    """Seen through a real overlay: the paths are gone, and the folders around them unchanged."""
    script = "mkdir -p etc a/b; touch etc/hosts etc/own a/b/own; chmod 711 etc; chown 5:6 a/b ."
    upper = filled(tmp_path / "upper", script)
    (upper / "a/b/c").mkdir()
    os.utime(upper / "etc", ns=(10**18, 10**18))
    paths = mountpoints.made(str(upper), [str(lower)], ["/etc/hosts", "/a/b/c"])
    top, merged = tmp_path / "top", tmp_path / "merged"
    top.mkdir()
    merged.mkdir()
    mountpoints.hide(paths, str(upper), str(top))
    options = f"lowerdir={top}:{upper}:{lower}"
    subprocess.run(["mount", "-t", "overlay", "o", "-o", options, merged], check=True)
    try:
        assert sorted(os.listdir(merged / "etc")) == ["own", "passwd"]
        assert os.listdir(merged / "a/b") == ["own"]
        for path in ("", "etc", "a", "a/b"):
            shown, was = (merged / path).stat(), (upper / path).stat()
            assert (shown.st_mode, shown.st_uid, shown.st_mtime_ns) == (
                was.st_mode, was.st_uid, was.st_mtime_ns,
            )  # fmt: skip
    finally:
        subprocess.run(["umount", merged], check=True)
