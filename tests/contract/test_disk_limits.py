"""What lifecycle relies on of `Disks`, in memory and on a real btrfs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.lab import mounts
from bench.lab.containerd import PrivateContainerd
from bench.lab.disk import disk
from bench.lab.host import Scope, audit
from bench.lab.image import busybox_archive
from fakes.storage import FakeDisks
from longshore.host.containerd import introspect
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.disks import Disks
from longshore.lifecycle.ports import Disks as Port
from longshore.model.names import Names
from longshore.model.security import Security

SIZE = 16 * 2**20


@dataclass(frozen=True)
class Setting:
    """`make` and `unmake`: the container's snapshot."""

    disks: Port
    make: Callable[[Names], None]
    unmake: Callable[[Names], None]


@pytest.fixture(scope="module")
def _real() -> Iterator[Setting]:
    folder = Path(tempfile.mkdtemp(prefix="lsk-"))
    containerd = PrivateContainerd(folder, btrfs=True)
    if mounts.hybrid():
        mounts.share(folder)  # later it would hide the disk
    try:
        with disk(containerd.home / "root", 128 * 2**20), containerd:
            client = Client(containerd.socket, "longshore")
            introspect.ensure_namespace(client)
            found = introspect.choose_snapshotter(introspect.plugins(client), "btrfs")
            assert found.root is not None
            images = Images(client, "btrfs", spool=folder)
            archive = busybox_archive(folder / "busybox.tar")
            (image,) = images.load(archive, lambda names: nullcontext())
            rootfs = Rootfs(client, "btrfs", found.root)

            def unmake(names: Names) -> None:
                rootfs.remove(names)
                rootfs.release(names)

            yield Setting(
                Disks(rootfs, "btrfs", found.root),
                lambda names: rootfs.prepare(names, image),
                unmake,
            )
            assert containerd.leftovers() == []
            client.close()
    finally:
        mounts.unmount_all(folder)
        assert audit(Scope([folder], ids=[])) == []
        shutil.rmtree(folder)


@pytest.fixture(params=["fake", "real"])
def setting(request: pytest.FixtureRequest) -> Setting:
    if request.param == "real":
        real: Setting = request.getfixturevalue("_real")
        return real
    return Setting(FakeDisks(), lambda names: None, lambda names: None)


def test_removing_what_was_never_limited_is_safe(setting: Setting, names: Names) -> None:
    setting.disks.remove(names)
    setting.make(names)
    setting.disks.remove(names)
    assert setting.disks.owned() == set()
    setting.unmake(names)


def test_limited_twice_is_limited_once_and_free_at_once(setting: Setting, names: Names) -> None:
    disks = setting.disks
    disks.check(SIZE, Security())
    setting.make(names)
    for size in (SIZE, SIZE, 2 * SIZE):
        disks.limit(names, size)
        assert disks.read(names) == size
        assert disks.owned() == {names.id}
    for _ in range(2):
        disks.remove(names)
        assert disks.read(names) is None
        assert disks.owned() == set()
    setting.unmake(names)


def test_removed_from_the_id_alone(setting: Setting, names: Names) -> None:
    """When the snapshot is gone before its limit."""
    setting.make(names)
    setting.disks.limit(names, SIZE)
    setting.unmake(names)
    setting.disks.remove(names)
    assert setting.disks.owned() == set()
