"""The fake node with images that come and go."""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from fakes.node import NOW, FakeNode
from longshore.errors import ImageInUse, ImageNotFound
from longshore.model.commit import Commit
from longshore.model.reference import canonical
from longshore.model.status import (
    ImageDetail,
    ImageLayer,
    ImageStatus,
    LayerStatus,
    PruneStatus,
    TransferStatus,
)
from longshore.model.transfer import Auth, Credential, PullPolicy

MIB = 1024 * 1024
NAME = "docker.io/library/centos:latest"
SHORT = "centos"
LAYERS = [f"sha256:{digit * 64}" for digit in "0123456789abcdef"]
DETAIL = ImageDetail(
    name=NAME,
    digest="sha256:" + "cd" * 32,
    size=76 * MIB,
    created_at=NOW,
    used_by=("db", "web"),
    used_at=NOW + 60,
    names=(NAME, "registry.example.org/centos:7"),
    platform="linux/arm64/v8",
    layers=(
        ImageLayer(
            digest=LAYERS[1],
            diff_id=LAYERS[2],
            media_type="application/vnd.oci.image.layer.v1.tar+gzip",
            size=75 * MIB,
        ),
    ),
    entrypoint=("/entry point", "-x"),
    command=("httpd",),
    env=("PATH=/bin", "B=2"),
    workdir="/srv",
    user="daemon",
    stop_signal="SIGINT",
    labels={"b": "2", "a": "1"},
    exposed_ports=("80/tcp", "53/udp", "8443"),
    volumes=("/data",),
    healthcheck={"Test": ["CMD", "true"]},
)
CENTOS = ImageStatus.model_validate(DETAIL.to_dict())


def layer(number: int, state: str, done: int = 0, total: int = 75 * MIB) -> LayerStatus:
    return LayerStatus(digest=LAYERS[number], done=done, total=total, state=state)


def transfer(
    state: str, *layers: LayerStatus, image: str = NAME, direction: str = "pull"
) -> TransferStatus:
    return TransferStatus(
        image=image,
        direction=direction,
        state=state,
        done=sum(one.done for one in layers),
        total=sum(one.total for one in layers),
        layers=layers,
        waiters=1,
    )


COMING = (
    transfer("resolving"),
    transfer("moving", layer(1, "moving", 30 * MIB), layer(2, "waiting")),
    transfer("unpacking", layer(1, "done", 75 * MIB), layer(2, "unpacking", 75 * MIB)),
    transfer("done", layer(1, "done", 75 * MIB), layer(2, "done", 75 * MIB)),
)


@dataclass
class ImageNode(FakeNode):
    """`coming`: what a pull or push says of itself. `asked` has what each call gave, but for a
    credential, which is in `credentials`.
    """

    coming: Sequence[TransferStatus] = COMING
    credentials: list[Credential | None] = field(default_factory=list)
    details: dict[str, ImageDetail] = field(
        default_factory=lambda: {canonical("busybox:1"): DETAIL}
    )
    pieces: Sequence[bytes] = (b"arch", b"ive")
    _left: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def show_image(self, name: str) -> ImageDetail:
        self._arrive("show_image")
        if canonical(name) not in self.details:
            raise ImageNotFound(f"cannot show image {name}: it is not here", object=name)
        return self.details[canonical(name)]

    def pull_image(
        self, name: str, policy: PullPolicy, auth: Auth
    ) -> Generator[TransferStatus, None, ImageStatus]:
        self.asked.append(("pull_image", name, policy, auth.name))
        self.credentials.append(auth.credential)
        yield from self._coming("pull_image")
        self.details[canonical(name)] = DETAIL
        return CENTOS

    def push_image(
        self, name: str, to: str, auth: Auth
    ) -> Generator[TransferStatus, None, TransferStatus]:
        self.asked.append(("push_image", name, to, auth.name))
        self.credentials.append(auth.credential)
        yield from self._coming("push_image")
        return self.coming[-1].model_copy(update={"digest": DETAIL.digest, "direction": "push"})

    def tag_image(self, name: str, new: str) -> ImageStatus:
        self.asked.append(("tag_image", name, new))
        self._arrive("tag_image")
        return CENTOS.model_copy(update={"name": canonical(new)})

    def remove_image(self, name: str) -> ImageStatus:
        self.asked.append(("remove_image", name))
        self._arrive("remove_image")
        if name == "used":
            raise ImageInUse(f"cannot remove image {name}: web uses it", object=name)
        return CENTOS

    def prune_images(self, *, all: bool = False) -> PruneStatus:
        self.asked.append(("prune_images", all))
        self._arrive("prune_images")
        return PruneStatus(images=(NAME,) if all else (), bytes=76 * MIB)

    def save_images(self, names: Sequence[str]) -> Iterator[bytes]:
        self.asked.append(("save_images", *names))
        yield self.pieces[0]
        self._arrive("save_images")
        yield from self.pieces[1:]

    def commit(self, ref: str, name: str, change: Commit) -> ImageStatus:
        self.asked.append(("commit", ref, name, change))
        self._arrive("commit")
        return CENTOS.model_copy(update={"name": canonical(name)})

    def wait_left(self, verb: str) -> bool:
        """Whether that is the next transfer whose caller left it; raises queue.Empty if none."""
        return self._left.get(timeout=20) == verb

    def _coming(self, verb: str) -> Iterator[TransferStatus]:
        """All but the last come at once; there a test holds or fails it."""
        try:
            yield from self.coming[:-1]
            while verb in self.gates and not self.gates[verb].wait(0.05):
                yield self.coming[-2]
            self._arrive(verb)
            yield self.coming[-1]
        except GeneratorExit:
            self._left.put(verb)
            raise
