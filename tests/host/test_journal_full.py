"""A journal on a disk that somebody else has filled: what makes room again still works."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.host.journal import Journal


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "full", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path, but: int = 0) -> None:
    """All but so many bytes of what is free."""
    space = os.statvfs(folder)
    with (folder / "big").open("wb", 0) as file:
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - but)
    assert os.statvfs(folder).f_bavail * space.f_frsize == but


def write(journal: Journal, times: int) -> None:
    for number in range(times):
        with journal.transaction(durable=True) as tx:
            tx.remember(f"key {number % 20}", "x" * 4000)


def test_a_full_disk(disk: Path) -> None:
    path = disk / "journal.sqlite"
    for _ in range(2):
        journal = Journal(path)
        fill(disk)
        write(journal, 200)
        with journal.transaction(durable=False) as tx:
            assert tx.recall("key 19") == "x" * 4000
        journal.close()
        (disk / "big").unlink()


def test_one_that_is_opened_on_a_full_disk(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = disk / "journal.sqlite"
    journal = Journal(path)
    write(journal, 20)
    journal.close()
    # What SQLite needs to open it at all.
    fill(disk, but=2**18)
    again = Journal(path)
    assert "has no room in reserve" in caplog.text
    with again.transaction(durable=False) as tx:
        assert tx.recall("key 3") == "x" * 4000
    again.close()
