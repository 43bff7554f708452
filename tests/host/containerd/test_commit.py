"""A container's changes as a new image, made by a real containerd and read by other tools."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.image import BUSYBOX, Config, base_layer, layout_of, tar_of
from host.containerd.stepwise import SNAPSHOTTER, Node, until
from longshore.errors import BadImage, ImageNotFound, InvalidRequest, LongshoreError, NotFound
from longshore.host.containerd import commit, content, leases
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.runtime import choose_runtime
from longshore.host.platform import this_node
from longshore.model import documents
from longshore.model.commit import Commit
from longshore.model.host import Image, Runtime, TaskStatus
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec

NAME = "example.test/made/here:1"


@pytest.fixture(scope="module")
def runtime(client: Client) -> Runtime:
    """What is compared is the file system: one runtime is as good as the other."""
    return choose_runtime(client, systemd_cgroup=False, binaries=["crun"])


@pytest.fixture(autouse=True)
def _clean(images: Images, client: Client, containerd: PrivateContainerd) -> Iterator[None]:
    """What a commit leaves is its image alone: once that is gone, there is what was before."""
    images.collect(())
    before = state(client, containerd)
    yield
    for image in images.list():
        if image.name.startswith("example.test/"):
            images.remove(image.name)
    images.collect(())
    assert state(client, containerd) == before


def state(client: Client, containerd: PrivateContainerd) -> dict[str, list[str]]:
    """All that containerd holds but for containers."""
    return {
        "blobs and writes": sorted(content.sizes(client)),
        "snapshots": sorted(containerd.ctr("snapshots", "ls").splitlines()),
        "leases": leases.names(client),
    }


def load(images: Images, folder: Path, *layers: bytes, config: Config | None = None) -> Image:
    path = folder / "base.tar"
    path.write_bytes(tar_of(layout_of("example.test/base:1", layers, config).members()))
    return images.load(path)[0]


def executable(name: str, data: bytes) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o755
        tar.addfile(entry, io.BytesIO(data))
    return memory.getvalue()


def members(client: Client, images: Images, name: str = NAME) -> dict[str, tarfile.TarInfo]:
    """What the image's topmost layer is made of."""
    layer = images.detail(name).layers[-1]
    data = gzip.decompress(content.read(client, layer.digest, 1 << 26))
    assert documents.digest_of(data) == layer.diff_id
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


def config_of(client: Client, images: Images, name: str = NAME) -> dict[str, Any]:
    target = content.read(client, images.get(name).digest, 1 << 20)
    digest = json.loads(target)["config"]["digest"]
    return dict(json.loads(content.read(client, digest, 1 << 20)))


def ended(node: Node, script: str, **fields: Any) -> ContainerSpec:
    """A container that has run a script and is still there."""
    spec = node.run(command=["sh", "-ec", script], **fields)
    until(lambda: node.tasks.get(Names(spec.id)).status is TaskStatus.STOPPED)
    assert node.output(spec)[1] == ""
    assert node.tasks.get(Names(spec.id)).exit_code == 0
    return spec


CHANGES = """
echo new > /new; echo more >> /www/index.html; rm /etc/group; rm -r /home; mkdir /home
echo inside > /home/inside; ln -s new /link; ln /new /twin; chmod 700 /var; chown 7:8 /new
mkdir -p /deep/er; mkfifo /deep/fifo; touch -d 2001-02-03 /deep/er
"""
SEEN = """
cat /new /link; tail -1 /www/index.html; ls /etc/group 2>&1 || true; ls /home
stat -c '%n %u:%g %a %F' /twin /var /deep/fifo; stat -c %h /twin
"""


def test_what_was_changed_is_there(
    node: Node, images: Images, client: Client, tmp_path: Path
) -> None:
    node = replace(node, image=load(images, tmp_path, base_layer()))
    spec = ended(node, CHANGES)
    made = images.commit(Names(spec.id), node.image, "example.test/made/here:1", Commit())
    node.remove(spec)
    assert made.name == NAME
    assert made.config == node.image.config
    found = members(client, images)
    assert {name for name in found if ".wh." in name} == {"etc/.wh.group", "home/.wh.app"}
    assert not {"etc/hosts", "etc/hostname", "etc/resolv.conf", "dev", "proc"} & set(found)
    images.remove(node.image.name)
    images.collect(())
    assert replace(node, image=made).shell(SEEN).splitlines() == [
        "new", "new", "more", "ls: /etc/group: No such file or directory", "inside",
        "/twin 7:8 644 regular file", "/var 0:0 700 directory", "/deep/fifo 0:0 644 fifo", "2",
    ]  # fmt: skip


def test_running_frozen_or_never_started(node: Node, images: Images, client: Client) -> None:
    spec = node.make(command=["sh", "-c", "echo x > /x; echo ready; while :; do sleep 9; done"])
    names = Names(spec.id)
    for task in (False, True):
        if task:
            node.create(spec)
        images.commit(names, node.image, NAME, Commit())
        assert members(client, images) == {}, "nothing was changed, whatever is mounted"
    node.tasks.start(names)
    until(lambda: "ready" in node.output(spec)[0])
    node.tasks.pause(names)
    images.commit(names, node.image, NAME, Commit())
    assert set(members(client, images)) == {"x"}
    node.tasks.resume(names)
    assert node.tasks.get(names).status is TaskStatus.RUNNING
    images.commit(names, node.image, NAME, Commit())
    assert set(members(client, images)) == {"x"}
    node.remove(spec)


def test_config_and_history(node: Node, images: Images, client: Client) -> None:
    spec = node.make()
    change = Commit(
        author="Ann <ann@example.test>",
        message="with a page",
        changes=['CMD ["serve"]', "ENV A=1", "EXPOSE 80", "USER app", "VOLUME /data", "LABEL l=v"],
    )
    made = images.commit(Names(spec.id), node.image, NAME, change)
    again = images.commit(Names(spec.id), made, NAME, Commit(message="and again"))
    node.remove(spec)
    for image in (made, again):
        config = image.config
        assert (config.command, config.user, config.volumes) == (("serve",), "app", ("/data",))
        assert (config.env, config.labels) == (("PATH=/bin", "A=1"), {"l": "v"})
        assert config.exposed_ports == ("80/tcp",)
    document = config_of(client, images)
    assert document["author"] == "Ann <ann@example.test>"
    assert [one.get("comment") for one in document["history"]] == [
        None, "with a page", "and again",
    ]  # fmt: skip
    assert document["history"][1]["author"] == "Ann <ann@example.test>"
    assert len(document["rootfs"]["diff_ids"]) == 3


def test_an_image_with_nothing_to_mount_on(
    node: Node, images: Images, client: Client, tmp_path: Path
) -> None:
    """Not even /etc: what the runtime makes for its mounts stays out, and nothing else does."""
    bare = executable("bin/busybox", BUSYBOX.read_bytes())
    node = replace(node, image=load(images, tmp_path, bare))
    mounts = [
        {"type": "tmpfs", "target": "/a/b/c", "size": 4096},
        {"type": "tmpfs", "target": "/a/d", "size": 4096},
        {"type": "tmpfs", "target": "/kept/here", "size": 4096},
    ]
    script = "touch /kept/file /a/b/c/lost; mkdir /own"
    spec = node.run(command=["/bin/busybox", "sh", "-ec", SHELL + script], mounts=mounts)
    until(lambda: node.tasks.get(Names(spec.id)).status is TaskStatus.STOPPED)
    assert node.output(spec)[1] == ""
    images.commit(Names(spec.id), node.image, NAME, Commit())
    node.remove(spec)
    assert set(members(client, images)) == {"kept", "kept/file", "own"}


SHELL = 'touch() { busybox touch "$@"; }; mkdir() { busybox mkdir "$@"; };'


def test_other_tools_take_it(node: Node, images: Images, tmp_path: Path) -> None:
    spec = ended(node, CHANGES)
    change = Commit(message="m", changes=['ENTRYPOINT ["/bin/sh"]'])
    images.commit(Names(spec.id), node.image, NAME, change)
    node.remove(spec)
    archive, layout, bundle = (tmp_path / name for name in ("made.tar", "layout", "bundle"))
    with open(archive, "wb") as file:
        for piece in images.save([NAME]):
            file.write(piece)
    run("skopeo", "copy", "--insecure-policy", f"oci-archive:{archive}", f"oci:{layout}:made")
    seen = json.loads(run("skopeo", "inspect", "--config", f"oci:{layout}:made"))
    assert seen["config"]["Entrypoint"] == ["/bin/sh"]
    run("umoci", "unpack", "--image", f"{layout}:made", bundle)
    assert (bundle / "rootfs/new").read_text() == "new\n"
    assert os.listdir(bundle / "rootfs/home") == ["inside"]
    history = json.loads(run("umoci", "stat", "--json", "--image", f"{layout}:made"))["history"]
    assert [bool(one["layer"]) for one in history] == [True, True]
    run("skopeo", "copy", "--insecure-policy", f"oci:{layout}:made",
        f"docker-archive:{tmp_path}/docker.tar:made:1")  # fmt: skip


def run(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_fails_leaves_nothing(
    node: Node, images: Images, client: Client, tmp_path: Path, containerd: PrivateContainerd
) -> None:
    base = load(images, tmp_path, base_layer(), tar_of({"f": os.urandom(100)}))
    node = replace(node, image=base)
    spec = node.make()
    names = Names(spec.id)
    before = state(client, containerd)
    with pytest.raises(InvalidRequest) as refused:
        images.commit(names, base, NAME, Commit(changes=["CMD x", "RUN y"]))
    assert refused.value.field == "changes[1]"
    with pytest.raises(NotFound):
        images.commit(Names(str(uuid4())), base, NAME, Commit())
    found = documents.resolve(
        [documents.Descriptor("", base.digest, 0)],
        lambda one: content.read(client, one.digest, 1 << 20),
        this_node(),
    )
    with (
        suppress(Broken),
        commit.source(
            client, SNAPSHOTTER, names, found, NAME, Commit(), node.layout.user_namespaces
        ),
    ):
        assert state(client, containerd) != before, "the layer is held"
        raise Broken("cannot go on: broken")
    assert state(client, containerd) == before
    with pytest.raises(ImageNotFound):
        images.get(NAME)
    images.remove(base.name)
    images.collect(())
    with pytest.raises((ImageNotFound, BadImage), match=r"not on this node any more|not all there"):
        images.commit(names, base, NAME, Commit())
    with (
        pytest.raises(ImageNotFound, match="not on this node any more"),
        commit.source(
            client, SNAPSHOTTER, names, found, NAME, Commit(), node.layout.user_namespaces
        ),
    ):
        pytest.fail("there is nothing to make it of")
    node.remove(spec)


class Broken(LongshoreError):
    pass
