"""One push at a time, on a clock of its own, and what was seen of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from bench.lab.bad_images import manifest_of
from bench.lab.certificates import Certificate
from bench.lab.image import Layout
from bench.lab.token_server import PASSWORD, USER
from longshore.errors import (
    PullCancelled,
)
from longshore.host.registry import pools
from longshore.host.registry.auth import Authorizer
from longshore.host.registry.exchange import Endpoint
from longshore.host.registry.http import Repository
from longshore.host.registry.patience import Patience, Time
from longshore.host.registry.push import push
from longshore.host.registry.refusal import Task
from longshore.model.documents import Descriptor
from longshore.model.reference import parse
from longshore.model.transfer import Credential, Reader

LAYER_SIZE = 3_000_000


@dataclass(frozen=True)
class Lab:
    ca: Path
    server: Certificate
    signer: Certificate


class Memory:
    """Content of a layout. `broken`: digest → what reading it raises after half of it."""

    parallel = 2

    def __init__(self, layout: Layout, broken: Mapping[str, BaseException] | None = None) -> None:
        last = layout.manifests[-1]
        self.candidates = [Descriptor(last["mediaType"], last["digest"], last["size"])]
        self.layout = layout
        self._broken = broken or {}

    def read(self, descriptor: Descriptor) -> bytes:
        return self.layout.blobs[descriptor.digest.removeprefix("sha256:")]

    def open(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        content = self.read(descriptor)
        if failure := self._broken.get(descriptor.digest):
            return nullcontext(_Broken(io.BytesIO(content[: len(content) // 2]), failure))
        return nullcontext(io.BytesIO(content[offset:]))


@dataclass
class _Broken:
    good: io.BytesIO
    failure: BaseException

    def read(self, size: int, /) -> bytes:
        part = self.good.read(size)
        if not part:
            raise self.failure
        return part


@dataclass
class Seen:
    """A watch that remembers. `after`: bytes of a blob after which nobody waits any more."""

    after: int | None = None
    digest: str = ""
    blobs: Mapping[str, int] = field(default_factory=dict)
    steps: dict[str, list[int]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def check(self) -> None:
        if self.after is not None and any(steps[-1] > self.after for steps in self.steps.values()):
            raise PullCancelled("cannot push it: nobody waits for it any more")

    def planned(self, digest: str, blobs: Mapping[str, int]) -> None:
        self.digest, self.blobs = digest, blobs

    def fetched(self, blob: str, done: int) -> None:
        self.steps.setdefault(blob, []).append(done)

    def unpacking(self, blob: str) -> None:
        raise AssertionError("nothing is unpacked when an image is sent")

    def finished(self, blob: str) -> None:
        self.done.append(blob)


@dataclass
class Push:
    """One push to `host`, on a clock of its own. `slept`: seconds of each pause."""

    host: str
    ca: Path
    name: str = "lab/app:1"
    credential: Credential | None = None
    stall: float = 20.0
    seen: Seen = field(default_factory=Seen)
    slept: list[float] = field(default_factory=list)

    def __call__(self, content: Memory | Layout) -> str:
        content = content if isinstance(content, Memory) else Memory(content)
        reference = parse(f"{self.host}/{self.name}")
        tls = pools.context(str(self.ca))
        sockets = pools.Pools(tls, tls, {})
        endpoint = Endpoint(f"https://{self.host}/v2", sockets)
        patience = Patience(
            Task(f"push {reference.name}", reference.name),
            self.seen.check,
            self.stall,
            1e12,
            Time(sleep=self.slept.append, random=lambda: 1.0),
        )
        who = Authorizer(endpoint.where, lambda: self.credential, plain=False)
        try:
            repository = Repository(endpoint, reference.path, who, patience, "pull,push")
            return push(repository, reference, content, self.seen)
        finally:
            sockets.close()


USER_PASSWORD = Credential(USER, PASSWORD)


def layers_of(layout: Layout) -> list[str]:
    return [layer["digest"] for layer in manifest_of(layout)["layers"]]
