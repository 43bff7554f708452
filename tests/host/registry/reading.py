"""What the tests of reading from registries share: time that nobody waits for, and short cuts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longshore.host.registry.patience import Time
from longshore.host.registry.registries import Registries
from longshore.model.documents import Descriptor
from longshore.model.transfer import Auth

_FILES = itertools.count()


@dataclass
class Ticks:
    """A clock that only sleeping moves; chance always says the most."""

    at: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def time(self) -> Time:
        return Time(lambda: self.at, self._sleep, lambda: 1.0)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


@dataclass
class Watching:
    """A watch that `raises` once it has been asked `after` times."""

    raises: Exception | None = None
    after: int = 0
    asked: int = 0

    def check(self) -> None:
        self.asked += 1
        if self.raises is not None and self.asked > self.after:
            raise self.raises

    def planned(self, digest: str, blobs: Mapping[str, int]) -> None: ...

    def fetched(self, blob: str, done: int) -> None: ...

    def unpacking(self, blob: str) -> None: ...

    def finished(self, blob: str) -> None: ...


def registries(
    folder: Path, settings: str, ticks: Ticks | None = None, **options: Any
) -> Registries:
    """With these settings, in a file of their own; without a proxy."""
    file = folder / f"registries-{next(_FILES)}.toml"
    file.write_text(settings)
    file.chmod(0o600)
    options = {"stall": 20.0, "environ": {}, **options}
    return Registries(file, time=ticks.time() if ticks else None, **options)


def settings_of(host: str, ca: Path, *lines: str) -> str:
    """TOML: a registry that is trusted by `ca`."""
    more = "\n".join(lines)
    return f'[registry."{host}"]\nca = "{ca}"\n{more}\n'


def pull(source: Registries, name: str, auth: Auth | None = None) -> dict[str, bytes]:
    """All that an image of one manifest consists of, by digest."""
    image = source.resolve(name, auth or Auth())
    found: dict[str, bytes] = {}
    with image.open(Watching()) as content:
        found[image.key] = content.read(content.candidates[0])
        document = json.loads(found[image.key])
        for value in (document["config"], *document["layers"]):
            blob = descriptor(value)
            with content.open(blob) as reader:
                found[blob.digest] = drain(reader.read)
    return found


def descriptor(value: Mapping[str, Any]) -> Descriptor:
    return Descriptor(value["mediaType"], value["digest"], value["size"])


def drain(read: Callable[[int], bytes]) -> bytes:
    parts = []
    while part := read(65536):
        parts.append(part)
    return b"".join(parts)
