"""`cp` and `diff`: which side is which, what DEST becomes, and what they print."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from cli.imaging import ImageNode
from e2e.tars import member, packed, unpacked
from fakes.service import DIFFERENCES
from fakes.shell import Shell
from longshore.errors import PathNotFound
from longshore.model.status import PathStatus

_LINK, _FILE, _FOLDER = 0o120777, 0o100644, 0o040755


class Inside:
    """What the container has: path → type, or where its link leads."""

    def __init__(self, node: ImageNode, **there: int | str) -> None:
        self._node = node
        self.there = {f"/{name}": value for name, value in there.items()} | {"/": _FOLDER}
        node.copy_out = self.copy_out  # type: ignore[method-assign]
        node.copy_in = self.copy_in  # type: ignore[method-assign]
        self.show = node.show
        node.show = lambda ref: None  # type: ignore[method-assign,assignment,return-value]
        self.asked: list[tuple[Any, ...]] = []

    def copy_out(
        self, ref: str, path: str, *, follow_link: bool = False
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        there = self.there.get(path.removesuffix("/.").rstrip("/") or "/")
        if there is None:
            raise PathNotFound(f"cannot find {path}", object=path)
        name = path.removesuffix("/.").rstrip("/").rpartition("/")[2]
        link = there if isinstance(there, str) else ""
        mode = _LINK if isinstance(there, str) else there
        kind = tarfile.DIRTYPE if mode == _FOLDER else tarfile.REGTYPE
        members = [member(name, b"" if mode == _FOLDER else b"data", type=kind, mode=0o755)]
        members += [member(f"{name}/in", b"data")] if mode == _FOLDER else []
        status = PathStatus(name=name, size=4, mode=mode, modified_at=1.0, link=link)
        return status, (piece for piece in [packed(*members)])

    def copy_in(
        self, request_id: str, ref: str, path: str, tar: Path, *, archive: bool, replace: bool
    ) -> int:
        names = sorted(unpacked(tar.read_bytes()))
        self.asked.append((ref, path, names, archive, replace))
        return len(names)


@pytest.fixture
def inside(node: ImageNode) -> Inside:
    return Inside(node, file=_FILE, folder=_FOLDER, link="folder", round="round")


def test_out_of_it(shell: Shell, inside: Inside, folder: Path) -> None:
    (folder / "there").mkdir()
    shell.out(f"cp -q web:/file {folder}/new")
    shell.out(f"cp -q web:/file {folder}/there")
    shell.out(f"cp -q web:file {folder}/there/")
    shell.out(f"cp -q web:/folder {folder}/there")
    shell.out(f"cp -q web:/folder {folder}/made")
    shell.out(f"cp -q web:/folder/. {folder}/there")
    for path in ("new", "there/file", "there/folder/in", "made/in", "there/in"):
        assert (folder / path).read_bytes() == b"data"
    told = shell.run(f"cp web:/file {folder}/new").stderr
    assert told.startswith("copied 1 entries (4 B) to ")
    for wrong in (
        f"web:/folder {folder}/new",
        f"web:/file {folder}/new/",
        f"web:/file {folder}/nowhere/",
        f"web:/file {folder}/no/where",
        f"web:/file/. {folder}/there",
        f"web:/gone {folder}/there",
    ):
        assert shell.run(f"cp {wrong}").exit_code != 0, wrong


def test_into_it(shell: Shell, inside: Inside, folder: Path) -> None:
    source = folder / "source"
    (source / "deep").mkdir(parents=True)
    (source / "f").write_text("x")
    whole = ["", "/deep", "/f"]
    cases = {
        f"{source}/f web:/folder": ("/folder", ["f"]),
        f"{source}/f web:/link": ("/folder", ["f"]),
        f"{source}/f web:/file": ("/", ["file"]),
        f"{source}/f web:/new": ("/", ["new"]),
        f"{source}/f web:folder/new": ("/folder", ["new"]),
        f"{source} web:/folder": ("/folder", [f"source{one}" for one in whole]),
        f"{source} web:/new": ("/", [f"new{one}" for one in whole]),
        f"{source}/. web:/folder": ("/folder", [f".{one}" for one in whole]),
        f"{source}/. web:/new/": ("/", [f"new{one}" for one in whole]),
    }
    for words, (path, names) in cases.items():
        shell.out(f"cp -q {words}")
        assert inside.asked.pop() == ("web", path, names, False, False), words
    shell.out(f"cp -q -a {source}/f web:/folder")
    assert inside.asked.pop()[3] is True
    for wrong in (
        f"{source} web:/file",
        f"{source}/f web:/file/",
        f"{source}/f web:/new/",
        f"{source}/f/ web:/folder",
        f"{source}/f web:/round",
        f"{source}/gone web:/folder",
        "- web:/file",
    ):
        assert shell.run(f"cp {wrong}").exit_code != 0, wrong
    assert inside.asked == []


@pytest.mark.parametrize("words", ["a b", "web:/a db:/b", "web: b", ":/a b", "web:/a", "./a:b c"])
def test_sides(shell: Shell, inside: Inside, words: str) -> None:
    assert shell.run(f"cp {words}").exit_code == 2


def test_a_tar_in_a_pipe(shell: Shell, inside: Inside) -> None:
    tar = shell.run("cp web:/folder -").stdout_bytes
    assert sorted(unpacked(tar)) == ["folder", "folder/in"]


def test_diff(shell: Shell, node: ImageNode) -> None:
    assert shell.out("diff web") == "C /etc\nA /etc/app.conf\nD /etc/motd\n"
    assert json.loads(shell.out("diff -o json web")) == [one.to_dict() for one in DIFFERENCES]
