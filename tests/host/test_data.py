"""Anonymous volumes on the real file system: whole, or not there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from host.containerd.stepwise import spec_of
from longshore.errors import BadImage, DeadlineExceeded, Exhausted, HostFailed
from longshore.host.containerd import layers, merged
from longshore.host.data import Data
from longshore.model.anonymous import Anonymous, anonymous_volumes, with_anonymous
from longshore.model.host import Image, ImageConfig
from longshore.model.layout import Layout
from longshore.model.mounts import Borrowed
from longshore.model.names import Names

NAMES = Names(str(uuid4()))


@pytest.fixture
def stack(tmp_path: Path) -> list[Path]:
    """Three layers, topmost first."""
    found = [tmp_path / name for name in ("upper", "middle", "lower")]
    for layer in found:
        layer.mkdir()
    return found


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state", tmp_path / "run")


@pytest.fixture
def data(layout: Layout, stack: list[Path]) -> Data:
    return Data(layout, lambda names: [str(layer) for layer in stack])


def image(*volumes: str) -> Image:
    config = ImageConfig(volumes=volumes)
    return Image("busybox:latest", "sha256:00", "sha256:01", 1, 1.0, config)


def listing(folder: Path) -> str:
    """All that `find` can tell of what is in a folder: type, mode, owner, size, time, target."""
    form = "%P %y %m %U:%G %s %T@ %l\n"
    done = subprocess.run(
        ["find", ".", "-printf", form], cwd=folder, capture_output=True, text=True, check=True
    )
    # Sizes of folders are the file system's affair.
    lines = [line if " d " not in line else " ".join(line.split(" ")[:4]) for line in
             done.stdout.splitlines()]  # fmt: skip
    return "\n".join(sorted(lines))


def test_a_volume_is_what_the_image_has_there(
    data: Data, layout: Layout, stack: list[Path]
) -> None:
    script = """
    mkdir -p var/db/sub var/db/empty; echo one > var/db/one; echo two > var/db/sub/two
    ln var/db/one var/db/sub/same; ln -s /etc/passwd var/db/out; ln -s ../.. var/db/up
    mkfifo var/db/fifo; mknod var/db/device c 1 3; chown -R 7:8 var/db; chown -h 9:9 var/db/out
    cp /bin/busybox var/db/tool; chmod 4755 var/db/tool; chmod 1777 var/db/sub
    touch -d 2001-02-03 var/db/one var/db/sub; chmod 700 var/db; touch -d 2002-02-03 var/db
    """
    subprocess.run(["sh", "-ec", script], cwd=stack[2], check=True)
    os.setxattr(stack[2] / "var/db/one", "user.mark", b"\0kept")
    capability = b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    os.setxattr(stack[2] / "var/db/tool", "security.capability", capability)
    data.fill(NAMES, image("/var/db", "/none"), ())
    filled = layout.data(NAMES, 0)
    (stack[2] / "var/db/device").unlink()
    os.utime(stack[2] / "var/db", ns=(0, filled.stat().st_mtime_ns))
    assert listing(filled) == listing(stack[2] / "var/db"), "all but the device"
    assert "2002" in subprocess.check_output(["date", "-r", filled, "+%Y"], text=True)
    assert (filled / "one").stat().st_ino == (filled / "sub/same").stat().st_ino
    assert os.getxattr(filled / "one", "user.mark") == b"\0kept"
    assert os.getxattr(filled / "tool", "security.capability") == capability
    assert list(layout.data(NAMES, 1).iterdir()) == []
    assert stat.S_IMODE(layout.data(NAMES, 1).stat().st_mode) == 0o755
    assert stat.S_IMODE(layout.anonymous.stat().st_mode) == 0o700
    assert data.owned() == {NAMES.id}


def test_what_is_complete_stays_as_it_is(data: Data, layout: Layout, stack: list[Path]) -> None:
    (stack[2] / "db").mkdir()
    (stack[2] / "db/file").write_text("image's")
    data.fill(NAMES, image("/db"), ())
    (layout.data(NAMES, 0) / "file").write_text("the container's")
    data.fill(NAMES, image("/db", "/more"), ())
    assert (layout.data(NAMES, 0) / "file").read_text() == "the container's"
    assert layout.data(NAMES, 1).is_dir()


def test_what_is_half_made_is_made_anew(data: Data, layout: Layout, stack: list[Path]) -> None:
    (stack[2] / "db").mkdir()
    half = layout.data(NAMES, 0).with_name(".0.new")
    (half / "left/over").mkdir(parents=True)
    data.fill(NAMES, image("/db"), ())
    assert os.listdir(layout.anonymous / NAMES.id) == ["0"]
    assert os.listdir(layout.data(NAMES, 0)) == []


def test_nothing_to_make_makes_nothing(data: Data, layout: Layout) -> None:
    data.fill(NAMES, image(), ())
    data.remove(NAMES)
    assert data.owned() == set()
    assert not layout.state_dir.exists()


def test_mounts_of_the_spec_cover_volumes() -> None:
    mounts = spec_of(
        mounts=[
            {"type": "bind", "source": "/srv", "target": "/data"},
            {"type": "tmpfs", "target": "/run/x", "size": 4096},
        ]
    ).mounts
    volumes = ("/data", "/data/sub", "/database", "/run", "/run/x/y", "/etc")
    assert anonymous_volumes(volumes, mounts) == (
        Anonymous(2, "/database"),
        Anonymous(3, "/run"),
        Anonymous(5, "/etc"),
    )


def test_the_request_may_ask_for_some(data: Data, layout: Layout, stack: list[Path]) -> None:
    (stack[2] / "db").mkdir()
    (stack[2] / "db/file").write_text("image's")
    mounts = spec_of(
        mounts=[
            {"type": "volume", "target": "/mine"},
            {"type": "volume", "name": "named", "target": "/named"},
            {"type": "volume", "target": "/db", "read_only": True},
            {"type": "volume", "target": "/db/bare", "copy_image": False},
        ]
    ).mounts
    asked = image("/own", "/db")
    data.fill(NAMES, asked, mounts)
    assert sorted(os.listdir(layout.anonymous / NAMES.id)) == ["0", "2", "4", "5"]
    assert os.listdir(layout.data(NAMES, 4)) == ["file"]
    bound = with_anonymous(mounts, asked.config.volumes, NAMES.id)
    assert bound == (
        Borrowed(container=NAMES.id, index=2, target="/mine"),
        mounts[1],
        Borrowed(container=NAMES.id, index=4, target="/db", read_only=True),
        Borrowed(container=NAMES.id, index=5, target="/db/bare"),
        Borrowed(container=NAMES.id, index=0, target="/own"),
    )


def test_where_no_volume_can_be(data: Data) -> None:
    with pytest.raises(BadImage, match="/etc/hosts, which is the node's") as caught:
        data.fill(NAMES, image("/fine", "/etc/hosts"), ())
    assert caught.value.field == "config.Volumes"
    for path in ("/proc/x", "/sys", "/dev"):
        with pytest.raises(BadImage, match=f"config.Volumes has {path}, and a volume must not be"):
            data.fill(NAMES, image(path), ())
    data.fill(NAMES, image("/dev/shm"), ())
    data.remove(NAMES)
    assert data.owned() == set()


def test_a_file_where_a_volume_should_be(data: Data, stack: list[Path]) -> None:
    (stack[1] / "db").write_text("file")
    with pytest.raises(BadImage, match="cannot make volume /db: the image has a file there"):
        data.fill(NAMES, image("/db"), ())
    (stack[1] / "round").symlink_to("round")
    with pytest.raises(BadImage, match="round in a circle"):
        data.fill(NAMES, image("/round"), ())
    data.remove(NAMES)
    assert data.owned() == set()


def test_links_on_the_way_lead_through_the_image_alone(
    data: Data, layout: Layout, stack: list[Path], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "of the node").touch()
    (stack[2] / "run/x").mkdir(parents=True)
    (stack[2] / "run/x/here").touch()
    (stack[1] / "var").mkdir()
    (stack[1] / "var/run").symlink_to("/run")
    (stack[0] / "out").symlink_to(secret)
    (stack[0] / "up").symlink_to("../../../secret")
    data.fill(NAMES, image("/var/run/x", "/out", "/up"), ())
    found = [os.listdir(layout.data(NAMES, number)) for number in range(3)]
    assert found == [["here"], [], []]


def test_as_overlayfs_itself_shows_it(
    data: Data, layout: Layout, stack: list[Path], tmp_path: Path
) -> None:
    """Changes made through a real overlay, one layer after the other; the copy is what it shows."""
    upper, middle, lower = stack
    first = """
    mkdir -p v/a/b v/c/d v/gone v/turns; for f in v/a/1 v/a/b/2 v/c/3 v/c/d/4 v/gone/5 v/turns/6 v/7
    do echo $f > $f; done; ln v/7 v/8
    """
    second = """
    rm -r v/gone; rm -r v/c; mkdir v/c; echo new > v/c/new; echo more >> v/a/1; rm v/a/b/2
    rm -r v/turns; echo file > v/turns; chmod 750 v/a; rm v/7
    """
    third = """
    rm v/turns; mkdir v/turns; echo again > v/turns/6; echo x > v/a/b/x; ln -s a v/link; rm v/c/new
    mkdir -p v/gone/anew
    """
    subprocess.run(["sh", "-ec", first], cwd=lower, check=True)
    merged_at, work = tmp_path / "merged", tmp_path / "work"
    for below, script in ((lower, second), (f"{middle}:{lower}", third)):
        top = middle if below is lower else upper
        merged_at.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        options = f"lowerdir={below},upperdir={top},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "o", "-o", options, merged_at], check=True)
        try:
            subprocess.run(["sh", "-ec", script], cwd=merged_at, check=True)
            shown = listing(merged_at / "v")
        finally:
            subprocess.run(["umount", merged_at], check=True)
    data.fill(NAMES, image("/v"), ())
    assert listing(layout.data(NAMES, 0)) == shown
    assert "/anew" in shown


def test_holes_stay_holes(data: Data, layout: Layout, stack: list[Path]) -> None:
    (stack[2] / "db").mkdir()
    with open(stack[2] / "db/sparse", "wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"in the middle")
    data.fill(NAMES, image("/db"), ())
    copy = layout.data(NAMES, 0) / "sparse"
    assert copy.stat().st_size == 1 << 40
    assert copy.stat().st_blocks * 512 < 1 << 20
    with open(copy, "rb") as file:
        file.seek(1 << 39)
        assert file.read(13) == b"in the middle"


@pytest.fixture
def deep() -> Callable[[Path, int], None]:
    """Makes folders in folders, deeper than any path can name."""
    script = "import os,sys\nos.chdir(sys.argv[1])\nfor _ in range(int(sys.argv[2])):\n" \
             " os.mkdir('d'*100); open('f','w').close(); os.chdir('d'*100)\n"  # fmt: skip

    def make(folder: Path, levels: int) -> None:
        subprocess.run([sys.executable, "-c", script, folder, str(levels)], check=True)

    return make


def test_what_a_container_left_is_removed_however_deep(
    data: Data, layout: Layout, tmp_path: Path, deep: Callable[[Path, int], None]
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    data.fill(NAMES, image("/db"), ())
    folder = layout.data(NAMES, 0)
    deep(folder, 3000)
    (folder / "link").symlink_to(kept)
    (folder / "closed").mkdir(mode=0)
    data.remove(NAMES)
    assert data.owned() == set()
    assert (kept / "file").exists()
    data.remove(NAMES)


def test_deep_folders_are_copied(
    data: Data, layout: Layout, stack: list[Path], deep: Callable[[Path, int], None]
) -> None:
    (stack[2] / "db").mkdir()
    deep(stack[2] / "db", 35)
    data.fill(NAMES, image("/db"), ())
    assert listing(layout.data(NAMES, 0)) == listing(stack[2] / "db")


def test_far_too_many_files(stack: list[Path], tmp_path: Path) -> None:
    (stack[0] / "db/sub").mkdir(parents=True)
    for number in range(5):
        (stack[0] / f"db/sub/{number}").touch()
    found = layers.find([str(stack[0])], "db")
    assert found is not None
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(OSError, match="too many files"):
        merged.copy_folder(found, target, float("inf"), entries_max=5)
    enough = tmp_path / "enough"
    enough.mkdir()
    assert merged.copy_folder(found, enough, float("inf"), entries_max=6) == 6


def test_no_time_left(layout: Layout, stack: list[Path]) -> None:
    (stack[2] / "db/sub").mkdir(parents=True)
    never = Data(layout, lambda names: [str(layer) for layer in stack], deadline=-1.0)
    with pytest.raises(DeadlineExceeded, match="cannot make volume /db of"):
        never.fill(NAMES, image("/db"), ())
    with pytest.raises(DeadlineExceeded, match="cannot remove the volumes of"):
        never.remove(NAMES)
    assert never.owned() == {NAMES.id}
    Data(layout, lambda names: []).remove(NAMES)
    assert never.owned() == set()


@pytest.fixture
def small(layout: Layout) -> Iterator[None]:
    layout.state_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "x", layout.state_dir], check=True)
    yield
    subprocess.run(["umount", layout.state_dir], check=True)


@pytest.mark.usefixtures("small")
def test_a_full_disk_and_another_file_system(data: Data, layout: Layout, stack: list[Path]) -> None:
    (stack[2] / "db").mkdir()
    (stack[2] / "db/a").write_bytes(os.urandom(500_000))
    data.fill(NAMES, image("/db"), ())
    assert (layout.data(NAMES, 0) / "a").read_bytes() == (stack[2] / "db/a").read_bytes()
    (stack[2] / "db/b").write_bytes(os.urandom(900_000))
    with pytest.raises(Exhausted, match=r"cannot make volume /db of \S+: No space left"):
        data.fill(NAMES, image("/x", "/db"), ())
    assert not layout.data(NAMES, 1).exists(), "a half one is not taken for whole"
    data.remove(NAMES)
    assert data.owned() == set()


def test_an_immutable_file(data: Data, layout: Layout) -> None:
    data.fill(NAMES, image("/db"), ())
    file = layout.data(NAMES, 0) / "file"
    file.touch()
    done = subprocess.run(["chattr", "+i", file], check=True)
    assert done.returncode == 0
    try:
        with pytest.raises(HostFailed, match="Operation not permitted") as caught:
            data.remove(NAMES)
    finally:
        subprocess.run(["chattr", "-i", file], check=True)
    assert "immutable" in (caught.value.hint or "")
    data.remove(NAMES)
    assert data.owned() == set()
