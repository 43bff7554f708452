"""A change of a container's spec: what a patch makes of it, and what each changed field takes.

The table says it for every field of a spec; a test looks that none is missing. `live` is what the
kernel, or the agent itself, can change while its process runs. `restart` is what each start looks
up anew: the OCI spec, and the steps of RUN. `recreate` is what the steps of PREPARE have made once:
it is stopped, made anew around the same writable layer, addresses, ports and volumes, and started.
`never` is what makes another container of it, or what another verb does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from longshore.model.asking import unaskable
from longshore.model.injected import File
from longshore.model.limits import IoLimit, Limits
from longshore.model.mounts import Borrowed
from longshore.model.spec import ContainerSpec, invalid, recorded
from longshore.model.status import FieldChange

LIVE, RESTART, RECREATE, NEVER = "live", "restart", "recreate", "never"
#: From the least to the most.
ORDER = ("nothing", LIVE, RESTART, RECREATE, NEVER)

_KERNEL = (LIVE, "the kernel's limit is changed while it runs")
_OWN = (LIVE, "the agent looks it up when it needs it")
_PROCESS = (RESTART, "its process gets it when it is started")
_MOUNTED = (RESTART, "it is mounted when its process is started")
_NETWORK = (RESTART, "its network is made at each start")
_WRITTEN = (RECREATE, "the agent's files for it are written when it is made")
_FILLED = (RECREATE, "volumes are made and filled when it is made")
_ADDRESS = (RECREATE, "the agent's files for it, written when it is made, say its address")
_OF_IMAGE = (NEVER, "its layers are those of its image: a rebuild makes them anew, of another one")

#: Field, or the beginning of its path, as `tests/fields` writes it → when, and why. The longest
#: one counts.
TABLE: Mapping[str, tuple[str, str]] = {
    "id": (NEVER, "another id is another container"),
    "name": (NEVER, "a rename gives it another name, at any time"),
    "image": _OF_IMAGE,
    "pull": (NEVER, "it says how its image is got, and that is here already"),
    "image_credential": (NEVER, "it says who gets its image, and that is here already"),
    "flavor": (LIVE, "a flavor is the limits that it stands for, which are told one by one"),
    "entrypoint": _PROCESS,
    "command": _PROCESS,
    "env": _PROCESS,
    "workdir": _PROCESS,
    "user": (RECREATE, "who that is was looked up in its image when it was made"),
    "groups": (RECREATE, "who that is was looked up in its image when it was made"),
    "hostname": _WRITTEN,
    "domain": _WRITTEN,
    "hosts": _WRITTEN,
    "dns": _WRITTEN,
    "timezone": _WRITTEN,
    "labels": _OWN,
    "annotations": (RESTART, "its runtime reads them when its process is started"),
    "mounts": _MOUNTED,
    "mounts[volume].name": _FILLED,
    "mounts[volume].target": _FILLED,
    "mounts[volume].copy_image": _FILLED,
    "volumes_from": _MOUNTED,
    "files": (RECREATE, "its files are kept for it when it is made"),
    "secrets": (RESTART, "secrets are put into memory when its process is started"),
    "key_pair": (RECREATE, "its keys are kept for it when it is made"),
    "nics[].network": _ADDRESS,
    "nics[].address": _ADDRESS,
    "nics[].mac": _NETWORK,
    "host_network": _ADDRESS,
    "ports": (RESTART, "ports are published when its process is started"),
    "limits.cpus": _KERNEL,
    "limits.cpu_shares": _KERNEL,
    "limits.cpuset": _KERNEL,
    "limits.memory": _KERNEL,
    "limits.memory_reservation": _KERNEL,
    "limits.memory_swap": _KERNEL,
    "limits.oom_policy": _KERNEL,
    "limits.pids": _KERNEL,
    "limits.io_weight": _KERNEL,
    "limits.io": _KERNEL,
    "limits.hugepages": _KERNEL,
    "limits.disk": (LIVE, "the file system's limit is changed while it runs"),
    "limits.oom_score_adj": (RESTART, "each process has it from the one that started it"),
    "limits.ulimits": (RESTART, "each process has them from the one that started it"),
    "limits.shm_size": _MOUNTED,
    "init": _PROCESS,
    "tty": _PROCESS,
    "stdin": _PROCESS,
    "restart": _OWN,
    "health": _OWN,
    "stop_signal": _OWN,
    "stop_grace": _OWN,
    "auto_remove": _OWN,
    "security": (RESTART, "what its process may do is settled when it is started"),
    "security.user_namespace": (RECREATE, "whose its files are is settled when it is made"),
}

#: What takes more when a limit is taken away: nothing sets one back to what it was before.
_TAKEN_AWAY: Mapping[str, tuple[str, str]] = {
    "limits": (RESTART, "a limit that is taken away goes with its cgroup, at the next start"),
    "limits.disk": (RECREATE, "a limit of its layer is taken away when it is made anew"),
}

#: Fields that the agent never shows: of a secret pydantic hides it, of a file we do.
_HIDDEN = frozenset({"secrets[].value", "files[].content"})
#: Shown as one value: its own fields are those of `limits`.
_WHOLE = frozenset({"flavor"})


def apply(spec: ContainerSpec, patch: Mapping[str, Any]) -> ContainerSpec:
    """The spec with a merge patch (RFC 7396) applied: what is null goes back to its default, a list
    as a whole takes the place of the one before.

    A secret or file that it had before, by name or target, may come without its value or content:
    it keeps the one that it has.

    Raises:
        InvalidSpec: what comes out is none; with every fault.
    """
    value = merged(_given(spec), patch)
    new = recorded(value if isinstance(value, dict) else {})
    kept = _kept(spec, new)
    faults = [one for one in unaskable(new) if one["field"] not in kept]
    if faults:
        raise invalid(faults, {"name": spec.name})
    return new


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, on JSON values."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def asked_of(spec: ContainerSpec, flavor: Limits | None) -> ContainerSpec:
    """The spec without the limits that its flavor, with these limits, has filled in: so that they
    follow when it gets another flavor. One that was asked for and says the same is taken for it."""
    if flavor is None:
        return spec
    own = {name: value for name, value in spec.limits if value != getattr(flavor, name)}
    try:
        return spec.model_copy(update={"limits": Limits(**own)})
    except ValidationError:
        return spec  # what is left is part of a whole, such as swap without its memory


def changes(before: ContainerSpec, after: ContainerSpec) -> tuple[FieldChange, ...]:
    """Every field that differs, by its path; lists of the same length part by part, maps key by
    key. Of a secret's value and a file's content it says only that they change."""
    return tuple(sorted(_differing(before, after, "", ""), key=lambda one: one.field))


def most(found: Sequence[FieldChange]) -> str:
    """The most that any of them takes: one of ORDER."""
    return max((one.when for one in found), key=ORDER.index, default=ORDER[0])


def rule(field: str) -> tuple[str, str]:
    """When a field, written as in TABLE, can be changed, and why. Raises KeyError."""
    path = field
    while path not in TABLE:
        cut = max(path.rfind("."), path.rfind("["))
        if cut < 0:
            raise KeyError(field)
        path = path[:cut]
    return TABLE[path]


def _given(spec: ContainerSpec) -> dict[str, Any]:
    """As JSON has it, without what is its default: a default may depend on what is patched."""
    value = spec.model_dump(mode="json")
    return {
        name: value[name]
        for name, field in type(spec).model_fields.items()
        if field.is_required()
        or getattr(spec, name) != field.get_default(call_default_factory=True)
    }


def _kept(before: ContainerSpec, after: ContainerSpec) -> set[str]:
    """Faults of a request that are none here: what was there before, and stays."""
    files = {one.target for one in before.files}
    secrets = {one.name for one in before.secrets if one.reference is None}
    return {
        *(f"files[{i}].content" for i, one in enumerate(after.files) if one.target in files),
        *(f"secrets[{i}]" for i, one in enumerate(after.secrets) if one.name in secrets),
        *(
            f"mounts[{i}].type"
            for i, one in enumerate(after.mounts)
            if isinstance(one, Borrowed) and one in before.mounts
        ),
    }


def _differing(before: Any, after: Any, path: str, shape: str) -> Iterator[FieldChange]:
    """`path`: with numbers and keys; `shape`: as in TABLE."""
    if before == after:
        return
    both = (before, after)
    if shape not in _WHOLE and isinstance(before, BaseModel) and type(before) is type(after):
        for name in type(before).model_fields:
            old, new = getattr(before, name), getattr(after, name)
            yield from _differing(old, new, _dotted(path, name), _dotted(shape, name))
        return
    if all(isinstance(one, dict) for one in both):
        for key in before.keys() | after.keys():
            yield _change(f"{path}[{key}]", before.get(key), after.get(key), [shape])
        return
    if _are_parts(both) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            inner = f"{shape}{_mark(new)}"
            yield from _differing(old, new, f"{path}[{index}]", inner)
        return
    yield _change(path, before, after, [*_shapes(before, shape), *_shapes(after, shape)])


def _change(path: str, before: Any, after: Any, shapes: Sequence[str]) -> FieldChange:
    """`shapes`: of all that changes with it; what takes the most decides."""
    rules = [rule(shape) for shape in shapes]
    if _is_taken_away(path, before, after):
        rules.append(_TAKEN_AWAY.get(path, _TAKEN_AWAY["limits"]))
    when, why = max(rules, key=lambda one: ORDER.index(one[0]))
    if _HIDDEN.issuperset(shapes):
        return FieldChange(field=path, when=when, why=why)
    return FieldChange(field=path, before=_json(before), after=_json(after), when=when, why=why)


def _is_taken_away(path: str, before: Any, after: Any) -> bool:
    """Whether the kernel has to be without a limit that it has."""
    if not path.startswith("limits."):
        return False
    if isinstance(before, tuple) and isinstance(after, tuple):
        return not _devices(before) <= _devices(after)
    return path.endswith(".device") or (before is not None and after is None)


def _devices(limits: Sequence[Any]) -> set[str]:
    return {one.device for one in limits if isinstance(one, IoLimit)}


def _shapes(value: Any, shape: str) -> list[str]:
    """Of all the fields in a value that is changed as a whole."""
    if isinstance(value, tuple) and all(isinstance(one, BaseModel) for one in value):
        return [deep for one in value for deep in _shapes(one, f"{shape}{_mark(one)}")]
    if isinstance(value, BaseModel) and shape not in _WHOLE:
        return [
            _dotted(shape, name)
            for name in type(value).model_fields
            if not (name == "type" and _mark(value) in shape)
        ]
    return [shape]


def _are_parts(both: Sequence[Any]) -> bool:
    return all(isinstance(one, tuple) for one in both) and all(
        isinstance(part, BaseModel) for one in both for part in one
    )


def _mark(part: BaseModel) -> str:
    kind = getattr(part, "type", None)
    return f"[{kind}]" if kind is not None else "[]"


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _json(value: Any) -> Any:
    """As a spec's own JSON has it: without what is never given away."""
    if isinstance(value, BaseModel):
        shown = value.model_dump(
            mode="json", exclude={"content"} if isinstance(value, File) else None
        )
        return {name: one for name, one in shown.items() if one is not None}
    if isinstance(value, tuple):
        return [_json(one) for one in value]
    return value
