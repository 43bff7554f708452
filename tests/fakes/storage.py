"""What a container keeps or is given, in memory."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from longshore.model.host import Ids, Image
from longshore.model.injected import SEALED_MORE, File, Secret
from longshore.model.mounts import Mount
from longshore.model.names import Names
from longshore.model.record import Facts
from longshore.model.security import Security
from longshore.model.spec import ContainerSpec


@dataclass
class FakeVolumes:
    mounted: dict[str, tuple[Mount, ...]] = field(default_factory=dict)

    def check(self, mounts: Sequence[Mount], *, mapped: bool = False) -> None: ...

    def mount(self, names: Names, mounts: Sequence[Mount], ids: Ids | None = None) -> None:
        self.mounted[names.id] = tuple(mounts)

    def unmount(self, names: Names) -> None:
        self.mounted.pop(names.id, None)

    def owned(self) -> set[str]:
        return set(self.mounted)


@dataclass
class FakeData:
    filled: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def fill(self, names: Names, image: Image, mounts: Sequence[Mount]) -> None:
        covered = {mount.target for mount in mounts}
        paths = tuple(path for path in image.config.volumes if path not in covered)
        if paths:
            self.filled[names.id] = paths

    def remove(self, names: Names) -> None:
        self.filled.pop(names.id, None)

    def owned(self) -> set[str]:
        return set(self.filled)


@dataclass
class FakeNamedVolumes:
    """`filled`: volume → what it was filled from; `put`: what was put aside."""

    there: set[str] = field(default_factory=set)
    filled: dict[str, str | None] = field(default_factory=dict)
    put: set[str] = field(default_factory=set)

    def make(self, name: str) -> None:
        self.there.add(name)

    def fill(self, name: str, names: Names, target: str | None) -> None:
        self.there.add(name)
        self.filled.setdefault(name, target)

    def put_aside(self, name: str) -> None:
        if name in self.there:
            self.put.add(name)
        self.there.discard(name)
        self.filled.pop(name, None)

    def clear(self, name: str) -> bool:
        cleared = name in self.put
        self.put.discard(name)
        return cleared

    def aside(self) -> set[str]:
        return set(self.put)

    def list(self) -> set[str]:
        return set(self.there)


@dataclass
class FakeDisks:
    limits: dict[str, int] = field(default_factory=dict)

    def check(self, size: int, security: Security) -> None: ...

    def limit(self, names: Names, size: int) -> None:
        self.limits[names.id] = size

    def read(self, names: Names) -> int | None:
        return self.limits.get(names.id)

    def remove(self, names: Names) -> None:
        self.limits.pop(names.id, None)

    def owned(self) -> set[str]:
        return set(self.limits)


@dataclass
class FakeSecrets:
    written: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def check(self, secrets: Sequence[Secret]) -> None: ...

    def mark(self, secrets: Sequence[Secret]) -> Mapping[str, str]:
        return {one.name: one.data[::-1].hex() for one in secrets if one.data is not None}

    def seal(self, names: Names, secrets: Sequence[Secret]) -> Mapping[str, str]:
        return {
            one.name: base64.b64encode(bytes(SEALED_MORE) + one.data).decode()
            for one in secrets
            if one.data is not None
        }

    def write(
        self, names: Names, secrets: Sequence[Secret], sealed: Mapping[str, str], ids: Ids | None
    ) -> None:
        if secrets:
            self.written[names.id] = {
                one.name: base64.b64decode(sealed.get(one.name, ""))[SEALED_MORE:]
                for one in secrets
            }

    def remove(self, names: Names) -> None:
        self.written.pop(names.id, None)

    def owned(self) -> set[str]:
        return set(self.written)


@dataclass
class FakeFiles:
    there: set[str] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)
    #: Of the request's files, written once.
    written: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def check(self, spec: ContainerSpec) -> None: ...

    def write(self, names: Names, spec: ContainerSpec, facts: Facts) -> None:
        self.there.add(names.id)
        self.written.setdefault(names.id, spec.contents)

    def contents(self, names: Names, files: Sequence[File]) -> tuple[str, ...]:
        return self.written[names.id]

    def forget(self, names: Names) -> None:
        self.written.pop(names.id, None)

    def show(self, names: Names) -> None:
        assert names.id in self.there
        self.shown.add(names.id)

    def unshow(self, names: Names) -> None:
        self.shown.discard(names.id)

    def remove(self, names: Names) -> None:
        self.there.discard(names.id)
        self.written.pop(names.id, None)

    def owned(self) -> set[str]:
        return self.there | self.shown
