"""Disk limits on real file systems, without containers: who is bound, and what stays afterwards.

This machine's kernel need not have project quota: tests/vm/disk.py has the rest of that.
"""

from __future__ import annotations

import errno
import fcntl
import struct
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.disk import disk
from longshore.host import btrfs, project_quota
from longshore.host.disks import why_not
from longshore.host.project_quota import ProjectQuota
from longshore.host.subvolume_quota import SubvolumeQuota
from longshore.model.names import Names

MIB = 2**20
SIZE, IMAGE_SIZE = 8 * MIB, 20 * MIB
_FSGETXATTR = 0x801C581F


@pytest.fixture(scope="module", params=["simple", "accounting"])
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A btrfs with an image in it; the older kind of quota is the operator's, and on before."""
    with disk(tmp_path_factory.mktemp("btrfs") / "at", 200 * MIB) as at:
        if request.param == "accounting":
            _run("btrfs", "quota", "enable", at)
        _run("btrfs", "subvolume", "create", at / "image")
        (at / "image" / "big").write_bytes(bytes(IMAGE_SIZE))
        yield at


@pytest.fixture
def quota(folder: Path) -> SubvolumeQuota:
    return SubvolumeQuota(folder)


@pytest.fixture
def container(folder: Path) -> Iterator[Path]:
    yield from _container(folder)


@pytest.fixture
def other(folder: Path) -> Iterator[Path]:
    yield from _container(folder)


def _container(folder: Path) -> Iterator[Path]:
    at = folder / str(uuid.uuid4())
    _run("btrfs", "subvolume", "snapshot", folder / "image", at)
    yield at
    for one in [*at.glob("inner"), at]:
        if one.exists():
            _run("btrfs", "subvolume", "delete", one)


def test_one_is_bound_and_the_other_is_not(
    quota: SubvolumeQuota, container: Path, other: Path
) -> None:
    names = Names(container.name)
    assert quota.read(names, [container]) is None
    for size in (2 * SIZE, SIZE, SIZE):
        quota.limit(names, [container], size)
        assert quota.read(names, [container]) == size
    assert SIZE * 0.8 < _fill(container / "mine", 2 * SIZE) <= SIZE
    assert _fill(other / "mine", 2 * SIZE) == 2 * SIZE
    assert quota.read(Names(other.name), [other]) is None
    assert quota.any_limited()
    quota.remove(names, [container])
    assert quota.read(names, [container]) is None
    assert _fill(container / "more", SIZE) == SIZE
    assert not quota.any_limited()


def test_a_subvolume_within_gains_nothing(quota: SubvolumeQuota, container: Path) -> None:
    names = Names(container.name)
    quota.limit(names, [container], SIZE)
    _run("btrfs", "subvolume", "create", container / "inner")
    with btrfs.opened(container) as fd:
        found = btrfs.mode(fd)
    assert found is not None
    if found.simple:
        # With the older kind, seccomp keeps containers from making one.
        assert SIZE * 0.8 < _fill(container / "inner" / "mine", 2 * SIZE) <= SIZE
    quota.remove(names, [container])
    assert not quota.any_limited()


def test_nothing_stays_of_who_is_gone(
    quota: SubvolumeQuota, folder: Path, container: Path, other: Path
) -> None:
    """Whether or not somebody removed the limit before."""
    names = Names(container.name)
    quota.limit(names, [container], SIZE)
    quota.limit(Names(other.name), [other], SIZE)
    _fill(container / "mine", 2 * SIZE)
    _run("btrfs", "subvolume", "delete", "-c", container)
    _run("btrfs", "subvolume", "sync", folder)
    assert quota.any_limited()
    assert _groups_of_nothing(folder) == []
    quota.remove(names, [])
    assert quota.read(Names(other.name), [other]) == SIZE
    quota.remove(Names(other.name), [other])
    assert not quota.any_limited()


def test_half_made(quota: SubvolumeQuota, folder: Path, container: Path) -> None:
    """A group of ours without a member binds nobody, and goes."""
    names = Names(container.name)
    quota.limit(names, [container], SIZE)
    with btrfs.opened(folder) as fd:
        found = btrfs.mode(fd)
        for group, members in btrfs.groups(fd).members.items():
            for member in members:
                btrfs.leave(fd, member, group)
    assert found is not None
    if found.simple:
        assert quota.read(names, [container]) is None
        assert not quota.any_limited()
    quota.limit(names, [container], SIZE)
    assert quota.read(names, [container]) == SIZE
    quota.remove(names, [container])


def test_many_groups(folder: Path) -> None:
    """More than one answer of the kernel holds."""
    numbers = [btrfs.group_at(9, number) for number in range(200)]
    with btrfs.opened(folder) as fd:
        if btrfs.mode(fd) is None:
            btrfs.enable_quota(fd)
        for one in numbers:
            btrfs.make_group(fd, one)
            btrfs.set_limit(fd, one, SIZE + one % 200 * 4096, exclusive=False)
        found = btrfs.groups(fd)
        assert {one: found.limits[one] for one in numbers} == {
            one: SIZE + one % 200 * 4096 for one in numbers
        }
        # They are an operator's: nobody else clears them away.
        assert SubvolumeQuota(folder).any_limited()
        for one in numbers:
            assert btrfs.remove_group(fd, one)
        assert SubvolumeQuota(folder).any_limited() is False


def test_who_can(folder: Path, tmp_path: Path) -> None:
    assert (
        why_not("native", tmp_path) == "snapshotter native has no quota; overlayfs and btrfs have"
    )
    told = why_not("overlayfs", folder / "containerd" / "overlayfs")
    assert told is not None
    assert told.endswith("which has no project quota for overlay; snapshotter btrfs has")
    # Its quota is on, or all of it is containerd's.
    assert why_not("btrfs", folder / "snapshotter") is None


def test_a_btrfs_of_others(tmp_path: Path) -> None:
    """It is not for the agent to switch quota on there; nobody keeps the operator from it."""
    with disk(tmp_path / "at", 120 * MIB) as at:
        root = at / "containerd" / "snapshotter"
        told = why_not("btrfs", root)
        assert told == (
            f"{root} is on {at} (btrfs), which others use too, and its quota is off: "
            "`btrfs quota enable` it"
        )
        _run("btrfs", "quota", "enable", at)
        assert why_not("btrfs", root) is None


@pytest.mark.parametrize("make", [("mkfs.xfs", "-q"), ("mkfs.ext4", "-q")], ids=["xfs", "ext4"])
def test_project_quota_that_is_off(make: tuple[str, ...], tmp_path: Path) -> None:
    with disk(tmp_path / "at", 310 * MIB, make) as at:
        assert not ProjectQuota(at).is_on()
        told = why_not("overlayfs", at / "snapshots")
        assert (
            told
            == f"{at / 'snapshots'} is on {at} ({make[0][5:]}), which is mounted without prjquota"
        )


def test_projects_of_folders(tmp_path: Path) -> None:
    """xfs keeps them without quota too: what is made in the folder gets its project."""
    with disk(tmp_path / "at", 310 * MIB, ("mkfs.xfs", "-q")) as at:
        (at / "upper").mkdir()
        assert project_quota._number_of(at / "upper") is None
        project_quota._assign(at / "upper", (1 << 30) + 7)
        assert project_quota._number_of(at / "upper") == (1 << 30) + 7
        (at / "upper" / "folder").mkdir()
        (at / "upper" / "folder" / "file").touch()
        assert project_quota._number_of(at / "upper" / "folder") == (1 << 30) + 7
        with (at / "upper" / "folder" / "file").open() as file:
            data = fcntl.ioctl(file, _FSGETXATTR, bytes(28))
        assert struct.unpack_from("=4I", data)[3] == (1 << 30) + 7


def _fill(file: Path, size: int) -> int:
    """Writes so much if it may; how much it could."""
    written = 0
    with file.open("wb", buffering=0) as out:
        while written < size:
            try:
                written += out.write(bytes(65536))
            except OSError as error:
                if error.errno not in (errno.EDQUOT, errno.ENOSPC):
                    raise
                break
    return written


def _groups_of_nothing(folder: Path) -> list[str]:
    with btrfs.opened(folder) as fd:
        found, there = btrfs.groups(fd), btrfs.subvolumes(fd)
    empty = [one for one in found.used if btrfs.level(one) and one not in found.members]
    gone = [one for one in found.used if not btrfs.level(one) and one not in there | {5}]
    return [f"{btrfs.level(one)}/{one & 2**48 - 1}" for one in [*empty, *gone]]


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
