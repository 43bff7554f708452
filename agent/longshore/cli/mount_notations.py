"""Docker's notations for what is mounted, as parts of a spec.

As `notations`: each takes one option's text, and raises ValueError with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from longshore.cli.notations import mode, number, truth
from longshore.cli.units import parse_size

_PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_TMPFS_SIZE = "64m"
#: What may follow a second colon in -v → fields, by type.
_VOLUME_OPTIONS: Mapping[str, Mapping[str, tuple[str, Any]]] = {
    "bind": {
        "ro": ("read_only", True),
        "rw": ("read_only", False),
        **{name: ("propagation", name) for name in _PROPAGATIONS},
    },
    "volume": {
        "ro": ("read_only", True),
        "rw": ("read_only", False),
        "nocopy": ("copy_image", False),
    },
}
#: Docker's words for one of ours.
_RECURSIVE = {"readonly": "enabled"}


def _not(text: str) -> bool:
    return not truth(text)


def _as_is(text: str) -> str:
    return text


def _recursive(text: str) -> str:
    return _RECURSIVE.get(text, text)


#: Key in --mount → field of the spec, and how its value is read; by type.
_Key = tuple[str, Callable[[str], Any]]
_TARGET: Mapping[str, _Key] = dict.fromkeys(("target", "dst", "destination"), ("target", _as_is))
_ACCESS: Mapping[str, _Key] = dict.fromkeys(("readonly", "ro"), ("read_only", truth))
_KEYS: Mapping[str, Mapping[str, _Key]] = {
    "bind": {
        "source": ("source", _as_is),
        "src": ("source", _as_is),
        **_TARGET,
        **_ACCESS,
        "bind-propagation": ("propagation", _as_is),
        "bind-recursive": ("recursive", _recursive),
        "create": ("create", truth),
        "uid": ("create.uid", number),
        "gid": ("create.gid", number),
        "mode": ("create.mode", mode),
    },
    "volume": {
        "source": ("name", _as_is),
        "src": ("name", _as_is),
        **_TARGET,
        **_ACCESS,
        "volume-nocopy": ("copy_image", _not),
    },
    "tmpfs": {
        **_TARGET,
        "tmpfs-size": ("size", parse_size),
        "size": ("size", parse_size),
        "tmpfs-mode": ("mode", mode),
        "mode": ("mode", mode),
        "exec": ("executable", truth),
        "noexec": ("executable", _not),
    },
}


def volume(text: str) -> dict[str, Any]:
    """`source:target[:option,…]`: a path is bound, any other word is the name of a volume. A path
    alone is where an anonymous volume goes."""
    source, *rest = text.split(":")
    if source.startswith("/") and not rest:
        return {"type": "volume", "target": source}
    if not 1 <= len(rest) <= 2 or not source or not rest[0]:
        raise ValueError(f"{text!r} is no volume: write SOURCE:TARGET[:ro,rshared]")
    kind = "bind" if source.startswith(("/", ".")) else "volume"
    if kind == "bind":
        source = os.path.abspath(source) if source.startswith(".") else source
        mount = {"type": kind, "source": source, "target": rest[0]}
    else:
        mount = {"type": kind, "name": source, "target": rest[0]}
    known = _VOLUME_OPTIONS[kind]
    for option in rest[1].split(",") if len(rest) == 2 else ():
        if option not in known:
            what = "a volume" if kind == "bind" else f"volume {source}"
            raise ValueError(f"{option!r} is no option of {what}: {', '.join(known)}")
        field, value = known[option]
        if mount.setdefault(field, value) != value:
            raise ValueError(f"{text!r} says two things: {option}, and another before it")
    return mount


def mount(text: str) -> dict[str, Any]:
    """`type=bind|volume|tmpfs,key=value,…`, with docker's names of the keys."""
    pairs = [part.partition("=") for part in text.split(",")]
    kind = next((value for key, _, value in pairs if key == "type"), "bind")
    keys = _KEYS.get(kind)
    if keys is None:
        raise ValueError(f"{kind!r} is no type of mount: {', '.join(_KEYS)}")
    found: dict[str, Any] = {}
    for key, given, value in pairs:
        if key == "type":
            continue
        if key not in keys:
            raise ValueError(f"{key!r} is no key of a {kind} mount: {', '.join(keys)}")
        field, read = keys[key]
        if field in found:
            raise ValueError(f"{key} is given twice, or by another of its names")
        try:
            # A key alone says yes; one that is no question has no such answer.
            found[field] = read(value if given or read not in (truth, _not) else "true")
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    source = found.get("source", "/")
    if not source.startswith("/"):
        raise ValueError(f"{source!r} is no absolute path; the name of a volume needs type=volume")
    if kind == "tmpfs":
        found.setdefault("size", parse_size(_TMPFS_SIZE))
    return {"type": kind, **_created(found)}


def tmpfs(text: str) -> dict[str, Any]:
    """`target[:size=64m,mode=1777,exec]`."""
    target, _, options = text.partition(":")
    return mount(",".join(filter(None, ["type=tmpfs", f"target={target}", options])))


def volumes_from(text: str) -> dict[str, Any]:
    """`container[:ro]`."""
    container, _, access = text.partition(":")
    if not container or access not in ("", "ro", "rw"):
        raise ValueError(f"{text!r} names no container: write CONTAINER[:ro]")
    return {"container": container, "read_only": access == "ro"}


def _created(found: dict[str, Any]) -> dict[str, Any]:
    """Whose a folder is that is made: `create` alone is root's."""
    wanted = found.pop("create", None)
    folder = {
        name.removeprefix("create."): found.pop(name)
        for name in list(found)
        if name.startswith("create.")
    }
    if folder and not wanted:
        raise ValueError(f"{', '.join(folder)}: of a folder that is made: add create")
    return {**found, "create": folder} if wanted else found
