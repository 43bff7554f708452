"""What a container sees of its files: it can fill nothing but its own copies."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from longshore.errors import HostFailed
from longshore.host.files import Files
from longshore.host.mountinfo import mount_points
from longshore.host.shown import ROOM
from longshore.model.injected import FILE_MAX, File
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.record import Facts
from longshore.model.spec import ContainerSpec

GIVEN = (
    File(target="/app", content="port=1\n", mode=0o640, uid=7, gid=8),
    File(target="/tool", content="x" * FILE_MAX, mode=0o4755, uid=9),
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state", tmp_path / "run")


@pytest.fixture
def files(layout: Layout) -> Files:
    return Files(layout, nameservers=["192.0.2.53"])


@pytest.fixture
def names(files: Files, layout: Layout) -> Iterator[Names]:
    """Of a container whose files are written, but not shown yet."""
    one = Names(str(uuid4()))
    spec = ContainerSpec(id=one.id, name="web", image="x", files=GIVEN)
    files.write(one, spec, Facts())
    yield one
    files.unshow(one)
    assert files.owned() == {one.id}
    assert mounted(layout) == 0
    files.remove(one)
    assert files.owned() == set()


def mounted(layout: Layout) -> int:
    return sum(point.path.is_relative_to(layout.run_dir) for point in mount_points())


def natures(folder: Path, *, logs: bool) -> dict[str, tuple[int, int, int, bytes]]:
    found = [path for path in folder.iterdir() if logs or path.suffix != ".log"]
    return {
        path.name: (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode), path.read_bytes())
        for path in found
        for s in [path.stat()]
    }


def test_all_but_the_logs_as_asked_for(files: Files, layout: Layout, names: Names) -> None:
    files.show(names)
    shown = natures(layout.shown(names), logs=True)
    assert shown == natures(layout.folder(names), logs=False)
    assert set(shown) == {"hostname", "hosts", "resolv.conf", "file-0", "file-1"}
    assert shown["file-0"] == (7, 8, 0o640, b"port=1\n")
    assert shown["file-1"][:3] == (9, 0, 0o4755)
    assert stat.S_IMODE((layout.injected / names.id).stat().st_mode) == 0o700


def test_it_fills_its_own_memory_alone(files: Files, layout: Layout, names: Names) -> None:
    before = natures(layout.folder(names), logs=True)
    files.show(names)
    with (layout.shown(names) / "hosts").open("ab", buffering=0) as hosts:
        # As much as there is room for, and then nothing.
        written = hosts.write(bytes(2 * ROOM))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            hosts.write(bytes(4096))
    assert ROOM - 8192 <= written <= ROOM + 4096
    # The step again, with a process that runs: what it wrote stays.
    files.show(names)
    assert (layout.shown(names) / "hosts").stat().st_size > written
    assert mounted(layout) == 1
    for _ in range(2):
        files.unshow(names)
    assert natures(layout.folder(names), logs=True) == before
    files.show(names)
    assert natures(layout.shown(names), logs=True) == natures(layout.folder(names), logs=False)


def test_what_a_killed_agent_had_begun_is_begun_anew(
    files: Files, layout: Layout, names: Names
) -> None:
    files.show(names)
    half = layout.shown(names).with_name(".new")
    layout.shown(names).rename(half)
    (half / "hosts").unlink()
    assert names.id in files.owned()
    files.show(names)
    assert natures(layout.shown(names), logs=True) == natures(layout.folder(names), logs=False)
    assert mounted(layout) == 1


def test_owned_by_its_copies_alone(files: Files, layout: Layout, names: Names) -> None:
    other = Names(str(uuid4()))
    (layout.injected / other.id).mkdir(parents=True)
    assert files.owned() == {names.id, other.id}
    files.unshow(other)
    with pytest.raises(HostFailed, match="cannot show the files of"):
        files.show(other)
    assert other.id not in files.owned()
    assert subprocess.run(["ls", "-A", layout.injected], capture_output=True).stdout == b""
