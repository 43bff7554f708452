"""Images that other tools built from a Dockerfile: run as they say, committed, read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.lab import built as lab
from bench.lab.built import Built
from bench.lab.containerd import PrivateContainerd
from host.containerd.stepwise import Node, until
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.joint import Unwatched
from longshore.host.containerd.runtime import choose_runtime
from longshore.host.containerd.store import InMemory
from longshore.host.data import Data
from longshore.model.commit import Commit
from longshore.model.documents import Descriptor, digest_of
from longshore.model.host import Image, Runtime, TaskStatus
from longshore.model.names import Names
from longshore.model.transfer import Content, Watch


@pytest.fixture(scope="module")
def built(containerd: PrivateContainerd) -> Iterator[Built]:
    with Built(containerd.folder) as one:
        yield one


@pytest.fixture(scope="module")
def runtime(client: Client) -> Runtime:
    return choose_runtime(client, systemd_cgroup=False, binaries=["crun"])


@dataclass(frozen=True)
class Folder:
    """What skopeo calls `dir:`, as an `ImageSource`: the media types stay as they were built."""

    path: Path
    name: str

    @property
    def key(self) -> str:
        return digest_of((self.path / "manifest.json").read_bytes())

    def open(self, watch: Watch) -> AbstractContextManager[Content]:
        blobs = {digest_of(one.read_bytes()): one.read_bytes() for one in self.path.iterdir()}
        kind = json.loads(blobs[self.key]).get("mediaType", "")
        found = Descriptor(kind, self.key, len(blobs[self.key]))
        return nullcontext(InMemory([found], blobs))


def stored(images: Images, built: Built, form: str) -> Image:
    source = Folder(built.form(form), f"example.test/{form}:1")
    return images.store(source, Unwatched(), [source.name])


SCRIPT = """
echo "$GREETING"; cat /srv/data/file; echo mine > /srv/data/new; pwd; id -u; id -g
ls -d /gone; stat -c %u:%g /srv/data /srv/work
"""


@pytest.mark.parametrize("form", ["docker-gzip", "oci-zstd"])
def test_a_dockerfile_means_what_it_says(
    node: Node, images: Images, built: Built, form: str
) -> None:
    image = stored(images, built, form)
    config = image.config
    assert (config.entrypoint, config.command) == (lab.ENTRYPOINT, lab.CMD)
    assert (config.user, config.workdir, config.env) == (lab.USER, lab.WORKDIR, lab.ENV)
    assert (config.volumes, config.exposed_ports) == ((lab.VOLUME,), lab.EXPOSED)
    assert config.stop_signal == lab.STOP_SIGNAL
    assert config.labels[lab.LABEL[0]] == lab.LABEL[1]
    assert (config.healthcheck is not None) == form.startswith("docker")

    node, data = replace(node, image=image), Data(node.layout, node.rootfs.folders)
    spec = node.make(command=[SCRIPT])
    names = Names(spec.id)
    data.fill(names, image, spec.mounts)
    node.create(spec)
    node.tasks.start(names)
    until(lambda: node.tasks.get(names).status is TaskStatus.STOPPED)
    said, complaints = node.output(spec)
    assert complaints == "ls: /gone: No such file or directory\n"
    assert said.splitlines() == [
        "hello world", "kept", "/srv/work", "1000", "1000", "1000:1000", "1000:1000",
    ]  # fmt: skip

    made = images.commit(names, image, "example.test/made:1", Commit(changes=["USER root"]))
    assert made.config == replace(config, user="root")
    kinds = {layer.media_type for layer in images.detail(made.name).layers}
    assert all(kind.startswith("application/vnd.oci.image.layer.v1.tar") for kind in kinds)
    node.remove(spec)
    data.remove(names)

    bare = replace(made, config=replace(made.config, volumes=()))
    again = replace(node, image=bare)
    assert again.shell("ls /srv/data; id -u", entrypoint=[]) == "file\n0\n", "data is not committed"
    for name in (image.name, made.name):
        images.remove(name)


def test_an_image_made_without_a_dockerfile(node: Node, images: Images, built: Built) -> None:
    image = stored(images, built, "umoci")
    node, data = replace(node, image=image), Data(node.layout, node.rootfs.folders)
    spec = node.make(command=["sh", "-c", "busybox pwd; busybox ls -a /data"])
    data.fill(Names(spec.id), image, spec.mounts)
    node.create(spec)
    assert node.finish(spec) == ("/made/by/umoci\n.\n..\n", "")
    data.remove(Names(spec.id))
    images.remove(image.name)
