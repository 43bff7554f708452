"""A node that pulls: registries on loopback, a valve in their wires, and what containerd stores."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.lab.bad_registry import BadRegistry
from bench.lab.certificates import Authority
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import Layout, base_layer, layout_of, tar_of
from bench.lab.registry import PrivateRegistry
from bench.lab.token_server import PASSWORD, USER, TokenServer
from bench.lab.wire import Wire
from e2e.lab import Lab, running_lab
from longshore.bus.client import ComputeClient
from longshore.host.containerd import content
from longshore.host.containerd.client import Client
from longshore.model.status import ImageStatus, TransferStatus

R = TypeVar("R")
MIB = 2**20
#: Images that a lab has from its beginning.
OWN = "docker.io/library/busybox:latest"
#: The node's credential for `Harbour.tokens`.
CREDENTIAL = "lab"


class Valve:
    """A `Wire`'s toll: counts what comes, and holds it up as it is told.

    `pause`: seconds that each piece (64 KiB) of each connection takes.
    """

    def __init__(self) -> None:
        self.passed = 0
        self.pause = 0.0
        self._limit: int | None = None
        self._news = threading.Condition()

    def __call__(self, size: int) -> None:
        time.sleep(self.pause)
        with self._news:
            self._news.wait_for(lambda: self._limit is None or self.passed + size <= self._limit)
            self.passed += size
            self._news.notify_all()

    def shut(self, after: int = 0) -> None:
        """Lets so many bytes more through."""
        with self._news:
            self._limit = self.passed + after

    def open(self) -> None:
        with self._news:
            self._limit = None
            self._news.notify_all()

    def wait(self, size: int, quiet: float) -> None:
        """Until so many bytes more have passed, or none for so many seconds."""
        with self._news:
            until, last = self.passed + size, -1
            while last < self.passed < until:
                last = self.passed
                self._news.wait_for(lambda: self.passed > last, quiet)  # noqa: B023 - called here


@dataclass(frozen=True)
class Harbour:
    """Where images come from, and the node that they come to.

    Args:
        bad, debian: reached through wires with the valve, as `slow` and `whole`.
        locked: wants USER's password; `tokens`: wants tokens, and the node has CREDENTIAL for it.
        before: what containerd stores when nothing has been pulled.
    """

    lab: Lab
    nodes: ComputeClient
    valve: Valve
    bad: BadRegistry
    slow: str
    debian: PrivateRegistry
    whole: str
    locked: PrivateRegistry
    tokens: PrivateRegistry
    before: Sequence[str]

    @property
    def node(self) -> str:
        return self.lab.agent.node

    def waiters(self) -> list[int]:
        return [one.waiters for one in self.lab.client.node_status().transfers]

    def serve(self, layout: Layout, name: str) -> str:
        """Has `bad` serve it; returns the image's name."""
        self.bad.serve(layout, name.partition(":")[2])
        return f"{self.slow}/{name}"

    def forget(self, *images: str) -> None:
        """Removes the images; then nothing of them is left."""
        for image in images:
            self.lab.client.remove_image(image)
        self.lab.client.prune_images()
        assert stored(self.lab) == self.before


@contextmanager
def harbour(containerd: PrivateContainerd, folder: Path, broker: str) -> Iterator[Harbour]:
    authority = Authority(folder / "certificates")
    certificate, signer = authority.issue("registry"), authority.issue("signer", rsa=True)
    valve = Valve()
    with ExitStack() as opened:
        bad = opened.enter_context(BadRegistry())
        server = opened.enter_context(TokenServer(signer, certificate))

        def registry(name: str, **more: object) -> PrivateRegistry:
            one = PrivateRegistry(folder / name, tls=certificate, ca=authority.pem, **more)  # type: ignore[arg-type]  # passed on
            return opened.enter_context(one)

        debian, locked = registry("debian"), registry("locked", basic=True)
        tokens = registry("tokens", tokens=server)
        # A pull that is held up at the end holds up its wire, too.
        wires = [
            opened.enter_context(Wire(port, toll=valve))
            for port in (int(bad.host.rpartition(":")[2]), debian.port)
        ]
        opened.callback(valve.open)
        slow, whole = (f"127.0.0.1:{wire.port}" for wire in wires)
        settings = folder / "registries.toml"
        settings.touch(mode=0o600)
        settings.write_text(
            f'[registry."{slow}"]\nplain_http = true\n'
            f'[registry."{whole}"]\nca = "{authority.pem}"\n'
            f"{debian.settings}{locked.settings}{tokens.settings}"
            f'[credential.{CREDENTIAL}]\nregistry = "{tokens.host}"\n'
            f'username = "{USER}"\npassword = "{PASSWORD}"\n'
        )
        options = {"images.registries": settings, "bus.workers": 8, "DEFAULT.debug": True}
        lab = opened.enter_context(running_lab(containerd, "pulls", broker, options=options))
        nodes = opened.enter_context(ComputeClient(broker, origin="e2e"))
        yield Harbour(
            *(lab, nodes, valve, bad, slow, debian, whole, locked, tokens, stored(lab)),
        )


def files(name: str, count: int, size: int) -> list[bytes]:
    """What the layers of `image` hold."""
    chance = random.Random(name)
    return [chance.randbytes(size) for _ in range(count)]


def image(name: str, count: int, size: int) -> Layout:
    """Busybox, and so many layers of `size` bytes that nobody else has, one file `/fileN` each."""
    tars = [tar_of({f"file{n}": data}) for n, data in enumerate(files(name, count, size))]
    # As a plain archive, and above others, busybox is not what the node has already.
    return layout_of(name, [*tars, base_layer()], compress=False)


def layers(layout: Layout) -> dict[str, int]:
    """Digest → size in bytes."""
    manifest = json.loads(layout.blobs[layout.manifests[-1]["digest"].removeprefix("sha256:")])
    return {one["digest"]: one["size"] for one in manifest["layers"]}


def stored(lab: Lab) -> list[str]:
    """All that containerd has in the agent's namespace of images and their making, sorted."""

    def ask(kind: str, *words: str, skip: int = 0) -> list[str]:
        lines = lab.containerd.ctr(*words, namespace=lab.namespace).splitlines()[skip:]
        return [f"{kind} {line.split()[0]}" for line in lines]

    return sorted(
        [
            *ask("image", "images", "ls", "-q"),
            *ask("blob", "content", "ls", "-q"),
            *ask("ingest", "content", "active", skip=1),
            *ask("lease", "leases", "ls", "-q"),
            *ask("snapshot", "snapshots", "ls", skip=1),
        ]
    )


@contextmanager
def containerd_of(lab: Lab) -> Iterator[Client]:
    client = Client(lab.containerd.socket, lab.namespace)
    try:
        yield client
    finally:
        client.close()


def sizes(lab: Lab) -> Mapping[str, int]:
    """How many bytes containerd has of each blob, once it writes no more."""
    with containerd_of(lab) as client:
        last, now = None, content.sizes(client)
        while now != last:
            # What came before the agent died is still being written.
            time.sleep(0.01)
            last, now = now, content.sizes(client)
        return now


def asked(bad: BadRegistry, since: int = 0) -> dict[str, list[int]]:
    """From where on each blob was asked for, in order, by requests from number `since` on."""
    found: dict[str, list[int]] = {}
    for request, _ in bad.seen[since:]:
        if (request.kind, request.method) == ("blob", "GET"):
            found.setdefault(request.target, []).append(request.start or 0)
    return found


def check_resumed(
    starts: Mapping[str, Sequence[int]], there: Mapping[str, int], layout: Layout, *, whole: bool
) -> int:
    """Of each layer what was not `there`, and only that, was asked for, and once.

    `whole`: all of it came; else of some nothing may have been asked for yet. Returns how many
    were begun past their beginning.
    """
    for digest, size in layers(layout).items():
        has, begun = there.get(digest, 0), list(starts.get(digest, []))
        if has == size or (begun == [] and not whole):
            assert begun == []
        else:
            assert begun == [has]
    return sum(begun > 0 for one in starts.values() for begun in one)


def fetched(registry: PrivateRegistry) -> Counter[str]:
    """Digest of each blob that the registry was asked for → how often."""
    requests = registry.requests(r"/v2/.*/blobs/sha256:.*")
    return Counter(one.path.rpartition("/")[2] for one in requests if one.method == "GET")


def result(pull: Generator[TransferStatus, None, R]) -> R:
    """What the generator returns in the end."""
    while True:
        try:
            next(pull)
        except StopIteration as end:
            value: R = end.value
            return value


def pull(lab: Lab, name: str) -> ImageStatus:
    return result(lab.client.pull_image(name))
