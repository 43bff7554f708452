"""Images in memory, and a registry and a Glance that hold, fail and count on order."""

from __future__ import annotations

import tarfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from longshore.errors import BadImage, ImageNotFound, InvalidRequest, LongshoreError
from longshore.lifecycle.ports import Naming
from longshore.model.commit import Commit
from longshore.model.documents import MANIFEST, Descriptor, digest_of
from longshore.model.host import Image, ImageConfig
from longshore.model.names import Names
from longshore.model.reference import canonical, is_glance
from longshore.model.status import ImageDetail
from longshore.model.transfer import Auth, Content, ImageSource, Reader, Watch

#: How long a gate holds a transfer at most, in seconds: longer than any test should take.
_HELD = 20.0


def _hold(gate: threading.Event, watch: Watch) -> None:
    end = time.monotonic() + _HELD
    while not gate.wait(0.002) and time.monotonic() < end:
        watch.check()


def an_image(name: str, text: str = "1", **config: object) -> Image:
    """An image whose digest is that of the text."""
    return Image(
        canonical(name),
        digest_of(text.encode()),
        digest_of(f"unpacked {text}".encode()),
        1000,
        1.0,
        ImageConfig(**{"command": ("sh",), **config}),  # type: ignore[arg-type]  # fields of the test's choice
    )


IMAGE = an_image("busybox", "busybox", volumes=("/data",))


@dataclass(frozen=True)
class FakeContent:
    """Args:
    wait: called between pieces; a test may hold or break the transfer there.
    """

    image: Image
    wait: Callable[[Watch], None] = lambda watch: None
    parallel: int = 1

    @property
    def candidates(self) -> Sequence[Descriptor]:
        return [Descriptor(MANIFEST, self.image.digest, self.image.size)]

    def read(self, descriptor: Descriptor) -> bytes:
        raise AssertionError("content in memory has no documents")

    @contextmanager
    def open(self, descriptor: Descriptor, offset: int = 0) -> Iterator[Reader]:
        raise AssertionError("content in memory has no bytes")
        yield


@dataclass
class FakeImages:
    """`content`: digest → bytes that are here, named or not; `stored` counts what was brought;
    `archived`: what any archive holds; `lost`: digests whose names are all that is left."""

    unpacked: set[str]
    leases: set[str]
    there: dict[str, Image] = field(default_factory=lambda: {IMAGE.name: IMAGE})
    content: dict[str, int] = field(default_factory=lambda: {IMAGE.digest: IMAGE.size})
    stored: list[str] = field(default_factory=list)
    calls: int = 0
    archived: list[Image] = field(default_factory=lambda: [IMAGE])
    lost: set[str] = field(default_factory=set)

    def get(self, name: str) -> Image:
        self.calls += 1
        name = canonical(name)
        if name in self.there:
            if self.there[name].digest in self.lost:
                raise BadImage(f"cannot use image {name}: its content is gone", object=name)
            return self.there[name]
        repository, at, digest = name.partition("@")
        for image in self.list() if at else ():
            if image.digest == digest and image.name.rpartition(":")[0] == repository:
                return image
        raise ImageNotFound(f"cannot find image {name}: there is none", object=name)

    def detail(self, name: str) -> ImageDetail:
        image = self.get(name)
        names = [one.name for one in self.list() if one.digest == image.digest]
        return ImageDetail(
            name=image.name,
            digest=image.digest,
            size=image.size,
            created_at=image.created_at,
            names=tuple(names),
        )

    def list(self) -> Sequence[Image]:
        return [image for image in self._named() if image.digest not in self.lost]

    def _named(self) -> Sequence[Image]:
        return [image for _, image in sorted(self.there.items())]

    def broken(self) -> Sequence[Image]:
        return [
            replace(image, chain_id="", size=0, config=ImageConfig())
            for image in self._named()
            if image.digest in self.lost
        ]

    def load(
        self, archive: Path, naming: Naming = lambda targets: nullcontext()
    ) -> Sequence[Image]:
        if not tarfile.is_tarfile(archive):
            raise BadImage(f"cannot load {archive}: it is no archive", object=str(archive))
        with naming({image.name: image.digest for image in self.archived}):
            return [self.add(image) for image in self.archived]

    def add(self, image: Image) -> Image:
        self.there[image.name] = image
        self.content[image.digest] = image.size
        self.unpacked.add(image.chain_id)
        return image

    def store(self, source: ImageSource, watch: Watch, names: Sequence[str]) -> Image:
        with source.open(watch) as content:
            assert isinstance(content, FakeContent)
            image = content.image
            layer = f"layer of {image.digest}"
            watch.planned(image.digest, {layer: image.size})
            for done in range(0, image.size, 100):
                watch.check()
                watch.fetched(layer, done)
                content.wait(watch)
            watch.unpacking(layer)
            watch.finished(layer)
        self.stored.append(source.key)
        key = "" if source.key == image.digest else source.key
        named = [self.add(replace(image, name=canonical(one), key=key)) for one in names]
        return named[0]

    def unpack(self, image: Image) -> None:
        if image.chain_id in self.unpacked:
            return
        if image.digest not in self.content:
            raise ImageNotFound(f"cannot unpack {image.name}: no content", object=image.name)
        self.unpacked.add(image.chain_id)

    def hold(self, names: Names, image: Image) -> None:
        self.leases.add(names.id)
        if image.chain_id not in self.unpacked:
            raise ImageNotFound(f"cannot use image {image.name}: not unpacked", object=image.name)

    def tag(self, name: str, new: str) -> Image:
        self.there[canonical(new)] = replace(self.get(name), name=canonical(new))
        return self.there[canonical(new)]

    def remove(self, name: str) -> None:
        if self.there.pop(canonical(name), None) is None:
            raise ImageNotFound(f"cannot find image {name}: there is none", object=name)

    def collect(self, busy: Collection[str]) -> int:
        named = {image.digest for image in self.there.values()}
        gone = [digest for digest in self.content if digest not in named]
        return sum(self.content.pop(digest) for digest in gone)

    def save(self, names: Sequence[str]) -> Iterator[bytes]:
        for name in names:
            yield self.get(name).digest.encode()

    @contextmanager
    def open(self, name: str) -> Iterator[Content]:
        yield FakeContent(self.get(name))

    def commit(self, names: Names, base: Image, name: str, change: Commit) -> Image:
        return self.add(an_image(name, f"{base.digest} and {names.id}"))


@dataclass(frozen=True)
class FakeSource:
    name: str
    key: str
    content: FakeContent

    @contextmanager
    def open(self, watch: Watch) -> Iterator[Content]:
        yield self.content


@dataclass
class FakeSources:
    """`there`: what the registries and Glance have, by the name that is asked for.

    Args:
        go: transfers go on while it is set.
        answer: so do answers to what a name means.
        gone: a transfer that was given up has cleared up once it is set.
        failures: raised by `resolve`, by name; `breaks`: in the middle of the transfer, by name.
    """

    there: dict[str, Image] = field(default_factory=dict)
    go: threading.Event = field(default_factory=threading.Event)
    answer: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    failures: dict[str, LongshoreError] = field(default_factory=dict)
    breaks: dict[str, BaseException] = field(default_factory=dict)
    credentials: frozenset[str] = frozenset({"known"})
    asked: list[tuple[str, Auth]] = field(default_factory=list)
    pushed: dict[str, Image] = field(default_factory=dict)
    has_glance: bool = True
    moving: int = 0
    most: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.go.set()
        self.answer.set()
        self.gone.set()

    def have(self, name: str, text: str = "1", **config: object) -> Image:
        image = an_image(name, text, **config)
        self.there[image.name] = image
        return image

    def resolve(self, name: str, auth: Auth, watch: Watch) -> ImageSource:
        self.asked.append((name, auth))
        _hold(self.answer, watch)
        if name in self.failures:
            raise self.failures[name]
        if name not in self.there:
            raise ImageNotFound(f"cannot pull {name}: the registry has no such image", object=name)
        image = self.there[name]
        key = image.digest
        if is_glance(name):
            # Whatever it was asked by, Glance names an image by its id.
            name, key = f"glance://id-of-{image.digest[7:19]}", f"glance:{image.digest}"
        return FakeSource(name, key, FakeContent(image, self._wait))

    def check(self, name: str, auth: Auth) -> None:
        if auth.name is not None and auth.name not in self.credentials:
            raise InvalidRequest(
                f"cannot pull {name}: no credential {auth.name}", field="image_credential"
            )
        if is_glance(name) and not self.has_glance:
            raise InvalidRequest(f"cannot pull {name}: this node has no Glance", field="image")

    def push(self, name: str, content: Content, auth: Auth, watch: Watch) -> str:
        assert isinstance(content, FakeContent)
        image = content.image
        watch.planned("", {"layer": image.size})
        watch.fetched("layer", image.size // 2)
        self._wait(watch)
        watch.finished("layer")
        self.pushed[name] = image
        return image.digest

    def _wait(self, watch: Watch) -> None:
        with self._guard:
            self.moving += 1
            self.most = max(self.most, self.moving)
        try:
            _hold(self.go, watch)
            for error in self.breaks.values():
                raise error
        finally:
            self.gone.wait(_HELD)
            with self._guard:
                self.moving -= 1
