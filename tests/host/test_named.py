"""Named volumes on the real file system: filled once, whole or not at all; gone when removed."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from longshore.errors import BadImage, DeadlineExceeded, HostBusy, HostFailed
from longshore.host.named import NamedVolumes
from longshore.model.layout import Layout
from longshore.model.names import Names

NAMES = Names(str(uuid4()))


class Node:
    """One layer that every container has, with `db/file` in it."""

    def __init__(self, folder: Path) -> None:
        self.layer = folder / "layer"
        (self.layer / "db" / "sub").mkdir(parents=True)
        (self.layer / "db" / "file").write_text("image's")
        (self.layer / "db").chmod(0o750)
        os.chown(self.layer / "db", 7, 8)
        self.layout = Layout(folder / "state", folder / "run")
        self.volumes = self.after_a_restart()
        self.asked = 0

    def after_a_restart(self, deadline: float = 60.0) -> NamedVolumes:
        return NamedVolumes(self.layout, self.folders, deadline)

    def folders(self, names: Names) -> Sequence[str]:
        self.asked += 1
        return [str(self.layer)]

    def at(self, name: str = "data") -> Path:
        return self.layout.named_volume(name)

    def content(self, name: str = "data") -> list[str]:
        return sorted(os.listdir(self.at(name)))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_new_one_is_filled_once(node: Node) -> None:
    assert node.volumes.list() == set()
    node.volumes.make("data")
    assert node.content() == []
    assert stat.S_IMODE(node.at().stat().st_mode) == 0o755
    assert stat.S_IMODE(node.layout.named_volumes.stat().st_mode) == 0o700
    node.volumes.fill("data", NAMES, "/db")
    assert node.content() == ["file", "sub"]
    entry = node.at().stat()
    assert (entry.st_uid, entry.st_gid, stat.S_IMODE(entry.st_mode)) == (7, 8, 0o750)
    # Emptied it stays so: what is in it is the containers' affair now.
    (node.at() / "file").unlink()
    (node.at() / "sub").rmdir()
    for volumes in (node.volumes, node.after_a_restart()):
        volumes.fill("data", NAMES, "/db")
        volumes.make("data")
    assert (node.content(), node.asked) == ([], 1)
    assert node.volumes.list() == {"data"}


def test_one_that_is_not_to_be_filled_is_not_filled_later(node: Node) -> None:
    node.volumes.fill("data", NAMES, None)
    node.volumes.fill("data", NAMES, "/db")
    assert (node.content(), node.asked) == ([], 0)


def test_what_the_operator_put_into_it_stays(node: Node) -> None:
    node.volumes.make("data")
    (node.at() / "mine").touch()
    node.volumes.fill("data", NAMES, "/db")
    assert node.content() == ["mine"]


@pytest.mark.parametrize(("target", "content"), [("/none", []), ("/db/sub", [])])
def test_nothing_to_fill_it_with(node: Node, target: str, content: list[str]) -> None:
    node.volumes.fill("data", NAMES, target)
    assert node.content() == content


def test_a_file_is_no_content_of_a_volume(node: Node) -> None:
    with pytest.raises(BadImage, match="a file there, no folder"):
        node.volumes.fill("data", NAMES, "/db/file")
    assert node.content() == []


def test_half_filled_is_never_seen(node: Node) -> None:
    """As a crash leaves it: the copy is begun anew, and what is whole is renamed over the empty."""
    half = node.at().with_name(".data.new")
    (half / "half").mkdir(parents=True)
    node.volumes.fill("data", NAMES, "/db")
    assert node.content() == ["file", "sub"]
    assert sorted(os.listdir(node.at().parent)) == ["data", "settled"]


def test_whole_but_not_yet_said_so(node: Node) -> None:
    node.volumes.fill("data", NAMES, "/db")
    (node.at().parent / "settled").unlink()
    (node.at() / "file").write_text("written since")
    node.after_a_restart().fill("data", NAMES, "/db")
    assert (node.at() / "file").read_text() == "written since"


def test_one_that_was_lost_is_a_new_one(node: Node) -> None:
    node.volumes.fill("data", NAMES, "/db")
    subprocess.run(["rm", "-r", node.at()], check=True)
    assert node.volumes.list() == set()
    node.volumes.make("data")
    assert node.content() == []
    node.volumes.fill("data", NAMES, "/db")
    assert node.content() == ["file", "sub"]


def test_put_aside_its_name_is_free(node: Node) -> None:
    node.volumes.fill("data", NAMES, "/db")
    node.volumes.put_aside("data")
    node.volumes.put_aside("data")
    assert (node.volumes.list(), node.volumes.aside()) == (set(), {"data"})
    node.volumes.make("data")
    node.volumes.put_aside("data")
    node.volumes.make("data")
    (node.at() / "new").touch()
    node.volumes.make("other-data")
    node.volumes.put_aside("other-data")
    node.after_a_restart().clear("data")
    assert (node.volumes.list(), node.volumes.aside()) == ({"data"}, {"other-data"})
    assert node.content() == ["new"]
    node.volumes.clear("other-data")
    assert os.listdir(node.layout.named_volumes) == ["data"]


def test_clearing_goes_on(node: Node) -> None:
    node.volumes.fill("data", NAMES, "/db")
    node.volumes.put_aside("data")
    (aside,) = node.layout.named_volumes.iterdir()
    immutable = aside / "data" / "file"
    subprocess.run(["chattr", "+i", immutable], check=True)
    try:
        with pytest.raises(HostFailed, match="cannot remove volume data: Operation not permitted"):
            node.volumes.clear("data")
    finally:
        subprocess.run(["chattr", "-i", *node.layout.named_volumes.rglob("file")], check=True)
    with pytest.raises(DeadlineExceeded):
        node.after_a_restart(deadline=0.0).clear("data")
    node.volumes.clear("data")
    assert os.listdir(node.layout.named_volumes) == []


def test_one_being_filled_holds_up_those_who_want_it_alone(node: Node) -> None:
    reached, go = threading.Event(), threading.Event()

    def folders(names: Names) -> Sequence[str]:
        reached.set()
        assert go.wait(20)
        return [str(node.layer)]

    volumes = NamedVolumes(node.layout, folders, deadline=0.2)
    filling = threading.Thread(target=volumes.fill, args=("data", NAMES, "/none"))
    filling.start()
    assert reached.wait(20)
    with pytest.raises(HostBusy, match="cannot fill volume data: it is being filled"):
        volumes.fill("data", NAMES, "/db")
    volumes.fill("other", NAMES, None)
    go.set()
    filling.join()
    assert volumes.list() == {"data", "other"}
