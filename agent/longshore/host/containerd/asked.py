"""What a spec asks of this node by name, looked up when the container is made: its devices, and
the program for its init."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from longshore.errors import InvalidSpec
from longshore.host.block_devices import Number, disk_number
from longshore.host.containerd.node import Device, devices_beneath
from longshore.host.init import Init
from longshore.model import security
from longshore.model.spec import ContainerSpec

_DEV = Path("/dev")
#: More than /dev/snd or /dev/dri of any machine; a mistyped /dev is told so.
_DEVICES_MAX = 256


@dataclass(frozen=True)
class AskedDevice:
    """`node` has the path that it has in the container; `source` is the node's, `access` of r, w
    and m."""

    node: Device
    source: str
    access: str


@dataclass(frozen=True)
class Asked:
    """`init`: path of the node's program, None: not asked for; `disks`: the numbers of those that
    `limits.io` names; `flags`: number of a volume that is mounted → nosuid, nodev, noexec, as far
    as its source on the node has them; `everything`: the node's devices, for a privileged
    container."""

    devices: Sequence[AskedDevice] = ()
    init: str | None = None
    disks: Mapping[str, Number] = field(default_factory=dict)
    flags: Mapping[int, Sequence[str]] = field(default_factory=dict)
    everything: Sequence[Device] = ()


def look_up(spec: ContainerSpec, init: Init) -> Asked:
    """Numbers may be others after a reboot, so this is not remembered.

    Raises:
        InvalidSpec: what is asked for is not there (any more).
    """
    init.check(spec)
    return Asked(
        tuple(_devices(spec)),
        init.path() if spec.init else None,
        _disks(spec),
        everything=tuple(devices_beneath(_DEV)) if spec.security.privileged else (),
    )


def _disks(spec: ContainerSpec) -> dict[str, Number]:
    found = {}
    for index, one in enumerate(spec.limits.io):
        try:
            found[one.device] = disk_number(one.device)
        except ValueError as error:
            raise _fault(spec, f"limits.io[{index}].device", str(error)) from error
    return found


def _devices(spec: ContainerSpec) -> Iterator[AskedDevice]:
    for index, asked in enumerate(spec.security.devices):
        try:
            found = list(_found(asked))
        except OSError as error:
            raise _fault(spec, _source(index), f"{asked.source}: {error.strerror}") from error
        if not found:
            raise _fault(
                spec, _source(index), f"{asked.source} is no device, nor a folder of devices"
            )
        if len(found) > _DEVICES_MAX:
            raise _fault(
                spec, _source(index), f"{asked.source} holds more than {_DEVICES_MAX} devices"
            )
        yield from found


def _found(asked: security.Device) -> Iterator[AskedDevice]:
    """The device with its links resolved; or all that are in the folder."""
    real = Path(os.path.realpath(asked.source, strict=True))
    if stat.S_ISDIR(real.stat().st_mode):
        there = [(one.path, one) for one in devices_beneath(real)]
    else:
        there = [(str(real), one) for one in devices_beneath(real.parent) if one.path == str(real)]
    for source, one in there:
        inside = str(PurePosixPath(asked.place) / PurePosixPath(source).relative_to(real))
        yield AskedDevice(replace(one, path=inside), source, asked.access)


def _source(index: int) -> str:
    return f"security.devices[{index}].source"


def _fault(spec: ContainerSpec, at: str, why: str) -> InvalidSpec:
    return InvalidSpec(
        f"cannot create container {spec.name}: {at}: {why}",
        field=at,
        object=spec.name,
        details={"faults": [{"field": at, "why": why}]},
    )
