"""What may be in a spec that was recorded, and not in one that is asked for: faults of a request
that its parts cannot see, each a {field, why}."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from longshore.model.idranges import SIZE
from longshore.model.injected import File, Secret
from longshore.model.mounts import Borrowed
from longshore.model.places import misplaced
from longshore.model.security import Device

if TYPE_CHECKING:
    from longshore.model.spec import ContainerSpec

#: Of a user's number: more than any has.
_DIGITS = 20


def unaskable(spec: ContainerSpec) -> list[dict[str, str]]:
    """All of them; empty: it may be asked for."""
    looks = (_unasked, _without_value, _of_no_user, _no_less, _blank, _misplaced, _of_itself)
    return [fault for look in looks for fault in look(spec)]


def _unasked(spec: ContainerSpec) -> list[dict[str, str]]:
    return [
        {"field": f"mounts[{i}].type", "why": "must be bind, tmpfs or volume (see volumes_from)"}
        for i, mount in enumerate(spec.mounts)
        if isinstance(mount, Borrowed)
    ]


def _without_value(spec: ContainerSpec) -> list[dict[str, str]]:
    """A spec that comes from the journal has no values any more, one that is asked for has."""
    return [
        *(
            {"field": f"files[{i}].content", "why": "is missing"}
            for i, file in enumerate(spec.files)
            if file.content is None
        ),
        *(
            {"field": f"secrets[{i}]", "why": "needs a value or a reference"}
            for i, secret in enumerate(spec.secrets)
            if secret.value is None and secret.reference is None
        ),
    ]


def _of_no_user(spec: ContainerSpec) -> list[dict[str, str]]:
    """What belongs to nobody in its user namespace; whom names stand for the image says later."""
    if not spec.security.user_namespace:
        return []
    kinds: Mapping[str, Sequence[File | Secret]] = {"files": spec.files, "secrets": spec.secrets}
    asked = [
        (f"{kind}[{i}].{what}", str(number))
        for kind, those in kinds.items()
        for i, one in enumerate(those)
        for what, number in (("uid", one.uid), ("gid", one.gid))
    ]
    asked += [("user", one) for one in (spec.user or "").split(":")]
    asked += [(f"groups[{i}]", one) for i, one in enumerate(spec.groups)]
    return [
        {"field": field, "why": f"its user namespace has {SIZE} numbers, from 0 on"}
        for field, number in asked
        if number.isdigit() and int(number[:_DIGITS]) >= SIZE
    ]


def _no_less(spec: ContainerSpec) -> list[dict[str, str]]:
    if not spec.security.privileged:
        return []
    why = "a privileged container may do everything with every device"
    return [
        {"field": f"security.devices[{i}].access", "why": why}
        for i, device in enumerate(spec.security.devices)
        if device.access != Device.model_fields["access"].default
    ]


def _blank(spec: ContainerSpec) -> list[dict[str, str]]:
    return [
        {"field": f"env[{name}]", "why": f"{name!r} has a blank, which no shell can read"}
        for name in spec.env
        if re.search(r"\s", name)
    ]


def _of_itself(spec: ContainerSpec) -> list[dict[str, str]]:
    return [
        {"field": f"volumes_from[{i}].container", "why": "is this container itself"}
        for i, one in enumerate(spec.volumes_from)
        if one.container in (spec.id, spec.name)
    ]


def _misplaced(spec: ContainerSpec) -> Iterator[dict[str, str]]:
    mounts = {f"mounts[{i}].target": one.target for i, one in enumerate(spec.mounts)}
    files = {f"files[{i}].target": one.target for i, one in enumerate(spec.files)}
    secrets = {f"secrets[{i}].target": one.place for i, one in enumerate(spec.secrets)}
    return misplaced(mounts, files | secrets)
