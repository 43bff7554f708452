"""The notations of what a request brings along: files, secrets, public keys.

As `notations`: each takes one option's text, and raises ValueError with the reason. What they name
is read here, on the caller's side, and never more of it than may be sent. A secret's value is on
no command line, which `ps` shows to all, and in no message of ours.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from longshore.cli.notations import mode, number
from longshore.model.injected import FILE_MAX, SECRET_MAX

_KEYS_MAX = 2**19


def file(text: str) -> dict[str, Any]:
    """`target=path[,mode=644,uid=0,gid=0]`."""
    (target, path), *more = _pairs(text)
    if not target.startswith("/") or not path:
        raise ValueError(f"{text!r} is no file: write TARGET=PATH, like /etc/motd=./motd")
    return {"target": target, **_content("content", _read(path, FILE_MAX)), **_owned(more)}


def secret(text: str) -> dict[str, Any]:
    """`id=name[,src=path|env=variable|ref=name][,target=path,mode=400,uid=0,gid=0]`."""
    pairs = _pairs(text)
    names = [value for key, value in pairs if key == "id"]
    sources = [pair for pair in pairs if pair[0] in _READERS]
    if len(names) != 1:
        # Quoting it would show a value that stands where none should.
        raise ValueError("a secret has one name: write id=NAME,src=PATH, or env=VARIABLE or ref=")
    if len(sources) > 1:
        raise ValueError(f"secret {names[0]}: comes from {' and '.join(k for k, _ in sources)}")
    key, value = sources[0] if sources else ("ref", names[0])
    known = ("id", *_READERS)
    rest = [pair for pair in pairs if pair[0] not in known]
    return {"name": names[0], **_READERS[key](value), **_owned(rest, ("target",), known)}


def key_pair(text: str) -> dict[str, Any]:
    """`[name=]file.pub`, a key a line; without a name the file's."""
    match = re.fullmatch(r"([^/=]+)=(.+)", text)
    name, path = match.groups() if match else (Path(text).stem, text)
    try:
        lines = _read(path, _KEYS_MAX).decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} has no public key: it is not UTF-8") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if any("PRIVATE KEY" in line for line in keys):
        raise ValueError(f"{path} is a private key: its public one is mostly {path}.pub")
    return {"name": name, "public_keys": keys}


def one_pair(pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of several files with the same name. Raises ValueError: they have others."""
    names = list(dict.fromkeys(one["name"] for one in pairs))
    if len(names) > 1:
        raise ValueError(
            f"a container has one key pair, not {' and '.join(names)}: put one name before each, "
            "NAME=FILE.pub"
        )
    return {"name": names[0], "public_keys": [key for one in pairs for key in one["public_keys"]]}


def _from_file(path: str) -> dict[str, str]:
    return _content("value", _read(path, SECRET_MAX))


def _from_environment(name: str) -> dict[str, str]:
    if name not in os.environ:
        raise ValueError(f"there is no variable {name} in this environment")
    return _content("value", os.environb[name.encode()])


#: Where a secret may come from: key → what makes fields of its value.
_READERS: Mapping[str, Callable[[str], dict[str, str]]] = {
    "src": _from_file,
    "source": _from_file,
    "env": _from_environment,
    "ref": lambda name: {"reference": name},
}
_OWNER: Mapping[str, Callable[[str], int]] = {"mode": mode, "uid": number, "gid": number}


def _owned(
    pairs: list[tuple[str, str]], plain: tuple[str, ...] = (), known: tuple[str, ...] = ()
) -> dict[str, Any]:
    """`known`: keys that were read before, for the message alone."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key not in _OWNER and key not in plain:
            # Not quoted: it may be a secret's value that stands where none should.
            raise ValueError(f"has a key other than {', '.join([*known, *plain, *_OWNER])}")
        if key in found:
            raise ValueError(f"{key} is given twice")
        try:
            found[key] = _OWNER[key](value) if key in _OWNER else value
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    return found


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (part.partition("=") for part in text.split(","))]


def _content(field: str, data: bytes) -> dict[str, str]:
    """As text where it is text, which is easier to look at."""
    try:
        return {field: data.decode()}
    except UnicodeDecodeError:
        return {field: base64.b64encode(data).decode(), "encoding": "base64"}


def _read(path: str, most: int) -> bytes:
    """Not all of a path that has no end, such as /dev/zero."""
    try:
        with Path(path).expanduser().open("rb") as source:
            data = source.read(most + 1)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > most:
        raise ValueError(f"{path} has more than {most} bytes")
    return data
