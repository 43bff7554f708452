"""What the node and the request put into a container, file by file, as OCI mounts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from longshore.errors import InvalidSpec
from longshore.model.anonymous import is_covered
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec

#: Both lie in a tmpfs of the agent's. In a user namespace none of its mount's flags may be missing.
_FILE = ("nodev",)
_SECRET = ("ro", "nosuid", "nodev", "noexec")


def injected(spec: ContainerSpec, names: Names, layout: Layout, home: str) -> list[dict[str, Any]]:
    """The mounts, in no order.

    A mount of the spec at the same place as one of the node's own files of /etc, or above it, is
    there instead; not so where the request itself says what is to be in that file.

    Args:
        home: of the container's user.

    Raises:
        InvalidSpec: the public keys have to be where the request puts something else.
    """
    access = "ro" if spec.security.read_only_rootfs else "rw"
    files = [
        *_etc(spec, names, layout),
        *((file.target, layout.file(names, index)) for index, file in enumerate(spec.files)),
        *_keys(spec, names, layout, home),
    ]
    return [
        *(_bind(target, layout.shown(names) / file.name, access, *_FILE) for target, file in files),
        *(
            _bind(secret.place, layout.secret(names, index), *_SECRET)
            for index, secret in enumerate(spec.secrets)
        ),
    ]


def _etc(spec: ContainerSpec, names: Names, layout: Layout) -> Iterator[tuple[str, Path]]:
    asked = spec.managed
    taken = {one.target for one in spec.files} | {one.place for one in spec.secrets}
    for target, file in layout.etc(names).items():
        if target in asked or not (target in taken or is_covered(target, spec.mounts)):
            yield target, file
    if spec.timezone is not None:
        yield from layout.zone(names).items()


def _keys(
    spec: ContainerSpec, names: Names, layout: Layout, home: str
) -> Iterator[tuple[str, Path]]:
    if spec.key_pair is None:
        return
    target = str(PurePosixPath("/", home, ".ssh/authorized_keys"))
    taken = [one.target for one in (*spec.mounts, *spec.files)]
    if target in [*taken, *(one.place for one in spec.secrets)]:
        why = f"{target} is given twice: the public keys of key_pair belong there"
        raise InvalidSpec(
            f"cannot create container {spec.name}: {why}",
            field="key_pair",
            object=spec.name,
            details={"faults": [{"field": "key_pair", "why": why}]},
        )
    yield target, layout.authorized_keys(names)


def _bind(target: str, source: Path, *options: str) -> dict[str, Any]:
    return {
        "destination": target,
        "type": "bind",
        "source": str(source),
        "options": ["rbind", "rprivate", *options],
    }
