"""What lifecycle relies on of named volumes, in memory and real."""

from __future__ import annotations

from longshore.lifecycle.ports import Host
from longshore.lifecycle.steps import rootfs
from longshore.model.mounts import NamedVolume
from longshore.model.names import Names


def test_a_volume_from_make_to_clear(host: Host, names: Names) -> None:
    named, name = host.named, f"data-{names.id[:8]}"
    named.put_aside(name)
    named.clear(name)
    host.rootfs.prepare(names, host.images.get("busybox"))
    try:
        for _ in range(2):
            named.make(name)
            named.fill(name, names, "/etc")
            assert name in named.list()
        host.volumes.mount(names, [NamedVolume(name=name, target="/data")])
        assert names.id in host.volumes.owned()
        host.volumes.unmount(names)
        for _ in range(2):
            named.put_aside(name)
            assert (name in named.list(), name in named.aside()) == (False, True)
        for _ in range(2):
            named.clear(name)
            assert name not in named.aside()
    finally:
        host.volumes.unmount(names)
        rootfs.STEP.undo(host, names)
