"""limits.disk where overlayfs has project quota: on an xfs and on an ext4 in a file, with an agent
and a containerd of the check's own beside those of the node."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.lab import mounts
from bench.lab.containerd import PrivateContainerd
from bench.lab.disk import disk
from e2e.filling import MIB, SIZE, fills_its_own_alone, load_big
from e2e.filling import told as told_by
from e2e.lab import Lab, running_lab, until
from longshore.errors import InvalidSpec
from longshore.host.project_quota import ProjectQuota

_XFS = ("mkfs.xfs", "-q")
_EXT4 = ("mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota")
_EXEMPT = "SYS_RESOURCE"
#: How many empty files it can make.
_FILES = "i=0; while true 2>/dev/null >/f$i; do i=$((i+1)); done; echo $i; exec sleep 600"


@contextmanager
def _lab(make: Sequence[str], options: str) -> Iterator[tuple[Lab, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="lsd-"))
    containerd = PrivateContainerd(folder)
    settings = {"containerd.snapshotter": "overlayfs", "policy.allowed_capabilities": _EXEMPT}
    try:
        with (
            disk(containerd.home / "root", 512 * MIB, make, options) as at,
            containerd,
            running_lab(containerd, "d", options=settings) as lab,
        ):
            yield lab, at
    finally:
        mounts.unmount_all(folder)
        shutil.rmtree(folder)


def _filled(make: Sequence[str], *, binds_all: bool) -> Callable[[], str]:
    """`binds_all`: also a process with CAP_SYS_RESOURCE."""

    def check() -> str:
        with _lab(make, "prjquota") as (lab, at):
            assert "limits.disk" not in _cannot(lab)
            load_big(lab)
            hog, why = fills_its_own_alone(lab)
            assert ProjectQuota(at).any_limited()
            lab.client.stop(hog.id, grace=0)
            again = lab.client.start(hog.id)
            assert again.limits is not None
            assert again.limits.disk == SIZE
            lab.client.delete(hog.id, force=True)
            files = lab.client.create(
                lab.spec(command=["sh", "-c", _FILES], limits={"disk": SIZE}, nics=[])
            )
            until(lambda: told_by(lab, files), 180.0)
            assert SIZE // 4096 * 0.9 < int(told_by(lab, files)) <= SIZE // 4096
            lab.client.delete(files.id, force=True)
            assert not ProjectQuota(at).any_limited()
            told = _refusal(lab, security={"cap_add": [_EXEMPT]})
            assert binds_all is not bool(told), told
            assert binds_all or f"CAP_{_EXEMPT} is above the quota of ext4" in told, told
            lab.delete_all()
            lab.wait_clean()
        return why

    return check


def refused() -> str:
    """Without the mount option, in the words of the node's status."""
    with _lab(_XFS, "") as (lab, _):
        why, told = _cannot(lab)["limits.disk"], _refusal(lab)
        assert why in told, told
    return why


def _refusal(lab: Lab, **changes: object) -> str:
    """What a create with a limit is told; '' if it is taken."""
    try:
        lab.client.create(lab.spec(limits={"disk": SIZE}, nics=[], **changes))
    except InvalidSpec as error:
        return str(error)
    return ""


def _cannot(lab: Lab) -> dict[str, str]:
    return {one.feature: one.why for one in lab.client.node_status().cannot}


CHECKS = (
    ("disk: project quota of xfs", _filled(_XFS, binds_all=True)),
    ("disk: project quota of ext4", _filled(_EXT4, binds_all=False)),
    ("disk: xfs without project quota", refused),
)
