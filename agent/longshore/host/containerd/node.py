"""What of this node goes into an OCI spec: asked once, so that making a spec is pure."""

from __future__ import annotations

import os
import platform
import resource
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from longshore.errors import HostUnavailable
from longshore.model.host import Runtime
from longshore.model.linux import CAPABILITIES, RLIMITS
from longshore.model.names import CGROUP_PARENT

#: As the kernel has it; Python says -1.
UNLIMITED = 2**64 - 1
OOM_SCORE_MIN = -1000
#: crun writes the seccomp filter, some 5 KiB, into a file after it has set the container's limits.
_CRUN_FILE = 2**16
#: These the runtime mounts or makes by itself.
_NOT_DEVICES = frozenset({"pts", "shm", "mqueue", "console", "ptmx", "fd", "lxd"})


@dataclass(frozen=True)
class Device:
    """A device node, as an OCI spec lists it; `kind` is c or b."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class OciNode:
    """`capabilities` (with CAP_) are what containerd may hand on, `rlimits` the hard limits up to
    which it may set others' (resource → number), `cgroup_parent` what holds all of this agent's
    cgroups, `oom_score_adj` what a container has that asks for nothing else and `oom_score_min` the
    least that it can be given, `domainname` whether the runtime is known to set it, `file_size_min`
    the smallest RLIMIT_FSIZE under which the runtime can start a container."""

    machine: str
    systemd_cgroup: bool
    capabilities: frozenset[str]
    rlimits: Mapping[str, int]
    oom_score_adj: int
    cgroup_parent: str = CGROUP_PARENT
    oom_score_min: int = OOM_SCORE_MIN
    domainname: bool = True
    file_size_min: int = 0


def detect(
    runtime: Runtime, cgroup_parent: str = CGROUP_PARENT, containerd: int | None = None
) -> OciNode:
    """Looks at containerd and the node; cheap enough to repeat, execs nothing.

    Args:
        containerd: its pid. Containers are its descendants and get what it has, which may be
            more than the agent's unit leaves to the agent. None: this process stands in for it.

    Raises:
        HostUnavailable: it has ended meanwhile, as it does when it is restarted.
    """
    pid = os.getpid() if containerd is None else containerd
    try:
        return _detected(pid, runtime, cgroup_parent)
    except OSError as error:
        raise HostUnavailable(
            f"cannot look at containerd, process {pid}: {error.strerror or error}",
            object=str(pid),
        ) from error


def _detected(pid: int, runtime: Runtime, cgroup_parent: str) -> OciNode:
    resourceful = "CAP_SYS_RESOURCE" in _capabilities(pid, "CapEff")
    own_score = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
    return OciNode(
        machine=platform.machine(),
        systemd_cgroup=runtime.systemd_cgroup,
        capabilities=_capabilities(pid, "CapBnd"),
        rlimits=_rlimits(pid, raise_any=resourceful),
        # containerd may be protected from the out-of-memory killer, its containers are not (not
        # 0: crun takes that for 'not given', and they would inherit containerd's score). Without
        # CAP_SYS_RESOURCE nothing goes below what it has.
        oom_score_adj=max(1, own_score),
        cgroup_parent=cgroup_parent,
        oom_score_min=OOM_SCORE_MIN if resourceful else own_score,
        domainname=runtime.name != "runc",
        file_size_min=_CRUN_FILE if runtime.name == "crun" else 0,
    )


def _capabilities(pid: int, field: str) -> frozenset[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith(field + ":"))
    return frozenset(f"CAP_{name}" for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1)


def _rlimits(pid: int, *, raise_any: bool) -> dict[str, int]:
    limits = {}
    for name in RLIMITS:
        number = getattr(resource, f"RLIMIT_{name.upper()}", _number(name))
        hard = resource.prlimit(pid, number)[1]
        limits[name] = UNLIMITED if raise_any or hard == resource.RLIM_INFINITY else hard
    if raise_any:
        # The one ceiling that no capability lifts.
        limits["nofile"] = int(Path("/proc/sys/fs/nr_open").read_text())
    return limits


def _number(name: str) -> int:
    """Limits that Python has no name for, by getrlimit(2)'s numbers (the same on x86 and ARM)."""
    return {"locks": 10}.get(name, -1)


def devices_beneath(folder: Path) -> Iterator[Device]:
    """All in it and in its folders, but for links. Raises OSError."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in _NOT_DEVICES or entry.is_symlink():
            continue
        try:
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                yield from devices_beneath(Path(entry.path))
                continue
        except OSError:
            continue  # unplugged just now
        kind = "c" if stat.S_ISCHR(found.st_mode) else "b" if stat.S_ISBLK(found.st_mode) else ""
        if kind:
            yield Device(
                path=entry.path,
                kind=kind,
                major=os.major(found.st_rdev),
                minor=os.minor(found.st_rdev),
                mode=stat.S_IMODE(found.st_mode),
                uid=found.st_uid,
                gid=found.st_gid,
            )
