"""Named volumes whose maker is killed at some moment: whole afterwards, or not there."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from longshore.host.named import NamedVolumes
from longshore.model.layout import Layout
from longshore.model.names import Names

FILES = 400
#: How many of them are done when the maker is killed. It goes on until it hears of it.
MARKS = (0, 1, 50, 150, 300)
_PROGRAM = """
import sys
from pathlib import Path
from longshore.host.named import NamedVolumes
from longshore.model.layout import Layout
from longshore.model.names import Names
folder, verb, id = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
volumes = NamedVolumes(Layout(folder, folder), lambda names: [str(folder / "layer")])
names = Names(id)
print("ready", flush=True)
for line in sys.stdin:
    volumes.fill(line.strip(), names, "/db") if verb == "fill" else volumes.clear(line.strip())
    print("done", flush=True)
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "layer" / "db").mkdir(parents=True)
    for number in range(FILES):
        (tmp_path / "layer" / "db" / str(number)).write_text("x" * number)
    return Layout(tmp_path, tmp_path)


def volumes_of(layout: Layout) -> NamedVolumes:
    return NamedVolumes(layout, lambda names: [str(layout.state_dir / "layer")])


def entries(folder: Path) -> int:
    """How many; 0: it is not there."""
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0


def killed(layout: Layout, verb: str, name: str, folders: Sequence[Path], at: range) -> None:
    """Another process does it and is killed when so many files are in one of the folders."""
    command = [sys.executable, "-c", _PROGRAM, str(layout.state_dir), verb, str(uuid4())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(f"{name}\n".encode())
        while max(map(entries, folders)) not in at:
            assert process.poll() is None
        process.kill()


def test_killed_while_it_is_filled(layout: Layout) -> None:
    volumes, left = volumes_of(layout), []
    for mark in MARKS:
        name = f"data-{mark}"
        data = layout.named_volume(name)
        half = data.with_name(".data.new")
        killed(layout, "fill", name, [half, data], range(mark, FILES + 1))
        assert entries(data) in (0, FILES)
        left.append(entries(half))
        volumes.fill(name, Names(str(uuid4())), "/db")
        assert {one.name: one.stat().st_size for one in data.iterdir()} == {
            str(size): size for size in range(FILES)
        }
        assert sorted(os.listdir(data.parent)) == ["data", "settled"]
    assert any(0 < one < FILES for one in left), f"never killed in the midst: {left}"


def test_killed_before_it_has_its_mode(layout: Layout) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from longshore.host.named import NamedVolumes
from longshore.model.layout import Layout
Path.chmod = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
NamedVolumes(Layout(folder, folder), lambda names: []).make("data")
"""
    ended = subprocess.run([sys.executable, "-c", program, layout.state_dir], check=False)
    assert ended.returncode == -signal.SIGKILL
    volumes, data = volumes_of(layout), layout.named_volume("data")
    volumes.make("data")
    assert stat.S_IMODE(data.stat().st_mode) == 0o755
    volumes.fill("data", Names(str(uuid4())), None)
    assert sorted(os.listdir(data.parent)) == ["data", "settled"]


def test_killed_while_it_is_removed(layout: Layout) -> None:
    volumes, left = volumes_of(layout), []
    for mark in MARKS[::2]:
        volumes.fill("data", Names(str(uuid4())), "/db")
        volumes.put_aside("data")
        (aside,) = layout.named_volumes.iterdir()
        killed(layout, "clear", "data", [aside / "data"], range(FILES - mark + 1))
        assert volumes.list() == set()
        left.append(entries(aside / "data"))
        volumes.clear("data")
        assert os.listdir(layout.named_volumes) == []
    assert any(0 < one < FILES for one in left), f"never killed in the midst: {left}"
