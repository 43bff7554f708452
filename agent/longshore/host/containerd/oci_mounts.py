"""What is mounted in a container beside its root file system. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longshore.host.containerd.oci_files import injected
from longshore.model.anonymous import with_anonymous
from longshore.model.host import ImageConfig
from longshore.model.layout import Layout
from longshore.model.limits import SHM_SIZE
from longshore.model.mounts import Bind, Mount, Tmpfs
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec

_SHARED = frozenset({"shared", "rshared"})
_SLAVE = frozenset({"slave", "rslave"})


def mounts(
    spec: ContainerSpec,
    names: Names,
    image: ImageConfig,
    layout: Layout,
    home: str,
    flags: Mapping[int, Sequence[str]],
) -> list[dict[str, Any]]:
    """In the order in which they are made: the kernel's first, then parents before what is mounted
    in them.

    A mount of the spec takes the place of what else would be there: of a default one at the same
    target, of the node's files and the image's volumes also beneath it.

    Args:
        home: of the container's user.
        flags: as in `Asked`.

    Raises:
        BadImage: a volume of the image is where the node has a file of its own.
        InvalidSpec: the public keys have to be where the request puts something else.
    """
    taken = {mount.target for mount in spec.mounts}
    kernel = [one for one in _kernel(spec) if one["destination"] not in taken]
    others = [
        *(
            _asked(mount, str(layout.volume(names, i)), flags.get(i, ()))
            for i, mount in enumerate(with_anonymous(spec.mounts, image.volumes, names.id))
        ),
        *injected(spec, names, layout, home),
    ]
    return kernel + sorted(others, key=lambda one: str(one["destination"]).count("/"))


def rootfs_propagation(asked: Sequence[Mount]) -> str | None:
    """A mount can pass events on only if the root it lies in does; None: the runtime's private."""
    kinds = {mount.propagation for mount in asked if isinstance(mount, Bind)}
    return "shared" if kinds & _SHARED else "rslave" if kinds & _SLAVE else None


def _kernel(spec: ContainerSpec) -> list[dict[str, Any]]:
    access = "rw" if spec.security.privileged else "ro"
    shm = f"size={spec.limits.shm_size or SHM_SIZE}"
    safe = ["nosuid", "noexec", "nodev"]
    return [
        _mount("/proc", "proc", *safe),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
            "gid=5",
        ),
        _mount("/dev/shm", "tmpfs", *safe, "mode=1777", shm, source="shm"),  # noqa: S108 - in it
        _mount("/dev/mqueue", "mqueue", *safe),
        _mount("/sys", "sysfs", *safe, access),
        _mount("/sys/fs/cgroup", "cgroup", *safe, "relatime", access),
    ]  # fmt: skip


def _asked(mount: Mount, place: str, flags: Sequence[str]) -> dict[str, Any]:
    if isinstance(mount, Tmpfs):
        programs = () if mount.executable else ("noexec",)
        options = ("nosuid", *programs, "nodev", f"mode={mount.mode:o}", f"size={mount.size}")
        return _mount(mount.target, "tmpfs", *options)
    recursive = mount.recursive if isinstance(mount, Bind) else "enabled"
    propagation = mount.propagation if isinstance(mount, Bind) else "rprivate"
    # 'ro' alone would leave what is mounted below the source writable.
    read_only = ("ro", "rro") if recursive == "enabled" else ("ro",)
    access = read_only if mount.read_only else ("rw",)
    bind = "bind" if recursive == "disabled" else "rbind"
    # A runtime sets the flags anew: what it is not told is lost, and in a user namespace, where
    # nobody may take them away, it fails.
    return _mount(mount.target, "bind", bind, propagation, *access, *flags, source=place)


def _mount(target: str, kind: str, *options: str, source: str | None = None) -> dict[str, Any]:
    return {
        "destination": target,
        "type": kind,
        "source": kind if source is None else source,
        "options": list(options),
    }
