"""The OCI runtime spec of a container, as a pure function of what was asked and of the node.

The hardening is Docker's, which images are written for; `security` in the spec takes it away or
adds to it, and nothing else does.
"""

from __future__ import annotations

from typing import Any

from longshore.errors import BadImage, InvalidSpec
from longshore.host.containerd import seccomp
from longshore.host.containerd.asked import Asked
from longshore.host.containerd.node import OciNode
from longshore.host.containerd.oci_limits import resources, rlimits
from longshore.host.containerd.oci_mounts import mounts, rootfs_propagation
from longshore.host.containerd.oci_security import (
    bound,
    check_domain,
    device,
    device_mounts,
    device_rules,
    sysctls,
)
from longshore.host.containerd.oci_userns import check_user, enter
from longshore.model.host import Ids, ImageConfig, User
from longshore.model.init import PLACE
from longshore.model.layout import Layout
from longshore.model.linux import effective_capabilities, signal_number
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Parts of /proc and /sys that tell or change too much of the node.
_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
]
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
#: Seconds. 0 would mean 'for ever' to systemd; and no container holds a shutdown up for longer
#: than systemd's own default allows a service.
_SHUTDOWN_MIN, _SHUTDOWN_MAX = 0.1, 90.0

NOTHING_ASKED = Asked()


def oci_spec(
    spec: ContainerSpec,
    names: Names,
    image: ImageConfig,
    user: User,
    layout: Layout,
    node: OciNode,
    ids: Ids | None = None,
    asked: Asked = NOTHING_ASKED,
) -> dict[str, Any]:
    """The runtime spec, in JSON types, for containerd's record.

    Args:
        asked: what of the node was looked up for it.

    Raises:
        InvalidSpec: there is no command, neither in the spec nor in the image; or a capability is
            asked for that this node cannot give.
        BadImage: the image's config says something that no container can do.
    """
    _check_stop_signal(spec, image)
    check_domain(spec, node)
    hostname = spec.hostname or spec.name
    whole: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": spec.security.read_only_rootfs},
        "hostname": hostname,
        "process": {
            "terminal": spec.tty,
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
            "args": [*_init(asked), *_arguments(spec, image)],
            "env": _environment(spec, image, user, hostname),
            "cwd": _workdir(spec, image),
            "capabilities": _capabilities(spec, node),
            "noNewPrivileges": not spec.security.privileged,
            "oomScoreAdj": node.oom_score_adj
            if spec.limits.oom_score_adj is None
            else spec.limits.oom_score_adj,
            "rlimits": rlimits(spec.limits),
        },
        "mounts": [
            *mounts(spec, names, image, layout, user.home, asked.flags),
            *_asked_mounts(asked, ids),
        ],
        "linux": _linux(spec, names, layout, node, asked, ids),
    }
    if ids is not None:
        check_user(user, ids, spec.name)
        enter(whole["linux"], layout.userns(names), ids)
        if spec.domain:
            whole["domainname"] = spec.domain
    annotations = {**(_scope(spec) if node.systemd_cgroup else {}), **spec.annotations}
    if annotations:
        whole["annotations"] = annotations
    return whole


def check_capabilities(spec: ContainerSpec, available: frozenset[str]) -> None:
    """Refuses a capability asked for by name that containerd cannot hand on.

    Args:
        available: names with CAP_, as in `OciNode.capabilities`.

    Raises:
        InvalidSpec: with every field.
    """
    faults = [
        {"field": f"security.cap_add[{i}]", "why": f"containerd itself does not have {name}"}
        for i, name in enumerate(spec.security.cap_add)
        if name != "ALL" and f"CAP_{name}" not in available
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InvalidSpec(
            f"cannot create container {spec.name}: {faults[0]['field']}: {faults[0]['why']}{more}",
            field=faults[0]["field"],
            object=spec.name,
            details={"faults": faults},
        )


def _init(asked: Asked) -> list[str]:
    return [] if asked.init is None else [PLACE, "--"]


def _asked_mounts(asked: Asked, ids: Ids | None) -> list[dict[str, Any]]:
    """After all others, for any of those may be where these are."""
    found = [] if ids is None else device_mounts(asked.devices)
    if asked.init is not None:
        found.append(bound(PLACE, asked.init))
    return found


def _arguments(spec: ContainerSpec, image: ImageConfig) -> list[str]:
    """A new entrypoint makes the image's command meaningless, as it does for Docker."""
    if spec.entrypoint is None:
        arguments = [*image.entrypoint, *(spec.command or image.command)]
    else:
        arguments = [*spec.entrypoint, *spec.command]
    if not arguments:
        raise InvalidSpec(
            f"cannot run {spec.name}: it has no command, and image {spec.image} has none either",
            field="command",
            object=spec.name,
        )
    return arguments


def _environment(spec: ContainerSpec, image: ImageConfig, user: User, hostname: str) -> list[str]:
    values = {"PATH": _PATH, "HOSTNAME": hostname, "HOME": user.home}
    if spec.tty:
        values["TERM"] = "xterm"
    for number, line in enumerate(image.env):
        name, _, value = line.partition("=")
        if not name:
            raise _bad_image(spec, f"config.Env[{number}]", f"{line[:80]!r} has no name")
        values[name] = value
    values |= spec.env
    return [f"{name}={value}" for name, value in values.items()]


def _workdir(spec: ContainerSpec, image: ImageConfig) -> str:
    path = spec.workdir or image.workdir or "/"
    if not path.startswith("/"):
        raise _bad_image(spec, "config.WorkingDir", f"{path[:80]!r} is no absolute path")
    return path


def _check_stop_signal(spec: ContainerSpec, image: ImageConfig) -> None:
    """Before it runs: when it is to stop is too late to find out."""
    if spec.stop_signal is None and image.stop_signal:
        try:
            signal_number(image.stop_signal)
        except ValueError as error:
            raise _bad_image(spec, "config.StopSignal", str(error)) from None


def _bad_image(spec: ContainerSpec, field: str, why: str) -> BadImage:
    return BadImage(
        f"cannot run {spec.name}: {field} of image {spec.image}: {why}",
        field=field,
        object=spec.image,
    )


def _capabilities(spec: ContainerSpec, node: OciNode) -> dict[str, list[str]]:
    """None is inheritable or ambient: a program that is not root starts with none."""
    check_capabilities(spec, node.capabilities)
    names = [name for name in _wanted(spec) if name in node.capabilities]
    return dict.fromkeys(("bounding", "effective", "permitted"), names)


def _wanted(spec: ContainerSpec) -> tuple[str, ...]:
    security = spec.security
    return effective_capabilities(
        security.cap_add, security.cap_drop, privileged=security.privileged
    )


def _linux(
    spec: ContainerSpec,
    names: Names,
    layout: Layout,
    node: OciNode,
    asked: Asked,
    ids: Ids | None,
) -> dict[str, Any]:
    namespaces: list[dict[str, str]] = [
        {"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")
    ]
    if not spec.host_network:
        namespaces.append({"type": "network", "path": str(layout.netns(names))})
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "cgroupsPath": cgroups_path(names, node.cgroup_parent, systemd=node.systemd_cgroup),
        "resources": resources(spec.limits, privileged=spec.security.privileged, disks=asked.disks),
        "sysctl": sysctls(spec),
    }
    linux["resources"]["devices"] += device_rules(asked.devices)
    propagation = rootfs_propagation(spec.mounts)
    if propagation is not None:
        linux["rootfsPropagation"] = propagation
    devices = {one.path: one for one in asked.everything}
    if ids is None:
        devices |= {one.node.path: one.node for one in asked.devices}
    if devices:
        linux["devices"] = [device(one) for one in devices.values()]
    if not spec.security.privileged:
        linux["maskedPaths"] = _MASKED
        linux["readonlyPaths"] = _READ_ONLY
        linux["seccomp"] = seccomp.profile(
            _wanted(spec), node.machine, disk_limit=spec.limits.disk is not None
        )
    return linux


def cgroups_path(names: Names, parent: str, *, systemd: bool) -> str:
    """Where the runtime puts the container's cgroup; with systemd, slice:prefix:name."""
    if systemd:
        return f"{parent}.slice:{parent}:{names.id}"
    return f"/{parent}/{names.id}"


def _scope(spec: ContainerSpec) -> dict[str, str]:
    """Properties of the systemd scope, in the form that both runtimes read.

    At the node's shutdown it is systemd that ends containers. Without a time of their own, one
    that ignores SIGTERM holds every shutdown up for 90 seconds.
    """
    grace = min(max(spec.stop_grace, _SHUTDOWN_MIN), _SHUTDOWN_MAX)
    return {"org.systemd.property.TimeoutStopUSec": f"uint64 {round(grace * 1_000_000)}"}
