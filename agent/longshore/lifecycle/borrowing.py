"""`volumes_from`: what a container sees of another one's folders and volumes.

What is the node's or has a name stays when the other goes. Its anonymous volumes go with it, so
that it cannot be deleted while somebody has them: the claim `volumes of <its id>` says who.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from longshore.errors import (
    ContainerNotFound,
    HostBusy,
    InvalidSpec,
    LongshoreError,
    VolumeInUse,
)
from longshore.lifecycle.ports import Transaction
from longshore.model.anonymous import with_anonymous
from longshore.model.mounts import Borrowed, Mount, Tmpfs
from longshore.model.record import Record
from longshore.model.spec import MOUNTS_MAX, ContainerSpec
from longshore.model.state import State

#: In these all that it has is there, and stays.
_WHOLE = frozenset(
    {
        State.CREATED,
        State.STARTING,
        State.RUNNING,
        State.PAUSED,
        State.RESTARTING,
        State.STOPPING,
        State.STOPPED,
        State.ERROR,
    }
)


class Known(Protocol):
    """The journal, or a transaction on it."""

    def get(self, id: str) -> Record | None: ...

    def find(self, ref: str) -> str: ...


def with_borrowed(spec: ContainerSpec, known: Known) -> ContainerSpec:
    """The spec with the mounts that `volumes_from` stands for. At a target that has something the
    first one counts: what the spec itself has, then container by container.

    Raises:
        ContainerNotFound: there is none, or none that has anything any more.
        HostBusy: it is being made.
        InvalidSpec: it is removed by itself, or that would be too many mounts.
    """
    if not spec.volumes_from:
        return spec
    taken = {one.target for one in (*spec.mounts, *spec.files)}
    taken |= {one.place for one in spec.secrets} | set(spec.managed)
    mounts = list(spec.mounts)
    for index, asked in enumerate(spec.volumes_from):
        field = f"volumes_from[{index}].container"
        try:
            other = known.get(known.find(asked.container))
        except ContainerNotFound as error:
            raise ContainerNotFound(
                f"cannot create container {spec.name}: {error}",
                field=field,
                object=asked.container,
            ) from error
        _check_whole(other, asked.container, spec, field)
        assert other is not None
        if other.spec.auto_remove:
            raise _fleeting(spec, asked.container, field)
        for mount in _lent(other):
            if mount.target not in taken:
                taken.add(mount.target)
                mounts.append(_read_only(mount) if asked.read_only else mount)
    if len(mounts) > MOUNTS_MAX:
        why = f"with the mounts of the spec that would be {len(mounts)}, more than {MOUNTS_MAX}"
        raise InvalidSpec(
            f"cannot create container {spec.name}: volumes_from: {why}",
            field="volumes_from",
            object=spec.name,
            details={"faults": [{"field": "volumes_from", "why": why}]},
        )
    return spec.but(mounts=tuple(mounts))


def claim_borrowed(tx: Transaction, asked: ContainerSpec, spec: ContainerSpec) -> None:
    """Claims what `with_borrowed` made of it.

    Args:
        asked: has its own mounts alone.

    Raises:
        HostBusy: it would make something else of it by now.
        ContainerNotFound, InvalidSpec: as it would.
    """
    if with_borrowed(spec.but(mounts=asked.mounts), tx) != spec:
        raise HostBusy(
            f"cannot create container {spec.name}: what it has volumes from has just changed",
            field="volumes_from",
            object=spec.name,
        )
    hold_borrowed(tx, spec)


def hold_borrowed(tx: Transaction, spec: ContainerSpec) -> None:
    """Claims the anonymous volumes of others that are among its mounts."""
    for id in {mount.container for mount in spec.mounts if isinstance(mount, Borrowed)}:
        tx.claim(_kind(id), spec.id, spec.id)


def check_free(tx: Transaction, record: Record) -> None:
    """Whether the container may be deleted. Raises VolumeInUse, with who has its volumes."""
    borrowers = sorted(
        one.name if (one := tx.get(id)) else id for id in tx.claims(_kind(record.id)).values()
    )
    if borrowers:
        raise VolumeInUse(
            f"cannot delete container {record.name}: its volumes are used by "
            f"{', '.join(borrowers)}",
            object=record.name,
            hint="delete those first",
            details={"containers": borrowers},
        )


def _kind(id: str) -> str:
    return f"volumes of {id}"


def _lent(other: Record) -> Iterator[Mount]:
    image = other.facts.image
    volumes = image.config.volumes if image else ()
    mounts = with_anonymous(other.spec.mounts, volumes, other.id)
    return (mount for mount in mounts if not isinstance(mount, Tmpfs))


def _read_only(mount: Mount) -> Mount:
    return mount if isinstance(mount, Tmpfs) else mount.model_copy(update={"read_only": True})


def _fleeting(spec: ContainerSpec, ref: str, field: str) -> InvalidSpec:
    why = f"container {ref} is removed once it has ended (auto_remove), and its volumes with it"
    return InvalidSpec(
        f"cannot create container {spec.name}: {why}",
        field=field,
        object=ref,
        details={"faults": [{"field": field, "why": why}]},
    )


def _check_whole(other: Record | None, ref: str, spec: ContainerSpec, field: str) -> None:
    if other is not None and other.state in _WHOLE:
        return
    refusal = _refusal(other)
    state = other.state if other else "gone"
    raise refusal(
        f"cannot create container {spec.name}: container {ref}, whose volumes it wants, is {state}",
        field=field,
        object=ref,
    )


def _refusal(other: Record | None) -> type[LongshoreError]:
    return HostBusy if other is not None and other.state is State.CREATING else ContainerNotFound
