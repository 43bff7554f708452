"""Which file of the node is mounted where in a container."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from longshore.errors import InvalidSpec
from longshore.host.containerd.oci_files import injected
from longshore.host.containerd.oci_mounts import mounts
from longshore.model.host import ImageConfig
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec, parse

NAMES = Names(str(uuid4()))
LAYOUT = Layout(Path("/state"), Path("/run"))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJnE0n5gP6vd2eZQ2dXcM3qG1SnRj0aRxT2u7f5Hc1o"
PAIR = {"name": "home", "public_keys": [KEY]}
ETC = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}


def spec_of(**fields: object) -> ContainerSpec:
    return parse({"id": NAMES.id, "name": "web", "image": "x", **fields})


def sources(spec: ContainerSpec, home: str = "/root") -> dict[str, str]:
    return {one["destination"]: one["source"] for one in injected(spec, NAMES, LAYOUT, home)}


def test_all_of_them() -> None:
    spec = spec_of(
        files=[{"target": "/a", "content": ""}, {"target": "/etc/b", "content": ""}],
        secrets=[{"name": "s", "value": "x"}, {"name": "t", "reference": "x", "target": "/t"}],
        key_pair=PAIR,
        timezone="UTC",
    )
    folder = f"/run/injected/{NAMES.id}/files"
    assert sources(spec, "/home/app") == {
        **{target: f"{folder}/{target.removeprefix('/etc/')}" for target in ETC},
        "/etc/localtime": f"{folder}/localtime",
        "/etc/timezone": f"{folder}/timezone",
        "/a": f"{folder}/file-0",
        "/etc/b": f"{folder}/file-1",
        "/home/app/.ssh/authorized_keys": f"{folder}/authorized_keys",
        "/run/secrets/s": f"/run/secrets/{NAMES.id}/0",
        "/t": f"/run/secrets/{NAMES.id}/1",
    }


def test_what_may_be_written_to() -> None:
    spec = spec_of(
        files=[{"target": "/a", "content": ""}], secrets=[{"name": "s", "value": "x"}], nics=[]
    )
    closed = spec.model_copy(
        update={"security": spec.security.model_copy(update={"read_only_rootfs": True})}
    )
    for one, access in ((spec, "rw"), (closed, "ro")):
        options = {m["destination"]: m["options"] for m in injected(one, NAMES, LAYOUT, "/")}
        secret = options.pop("/run/secrets/s")
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(secret)
        assert {tuple(found) for found in options.values()} == {
            ("rbind", "rprivate", access, "nodev")
        }


def test_a_mount_of_the_request_takes_the_place_of_the_nodes_file() -> None:
    above = {"type": "tmpfs", "target": "/etc", "size": 65536}
    there = {"type": "tmpfs", "target": "/etc/hosts", "size": 65536}
    file = {"target": "/etc/hosts", "content": "127.0.0.1 me\n"}
    assert set(sources(spec_of(mounts=[above]))) == set()
    assert set(sources(spec_of(mounts=[there]))) == ETC - {"/etc/hosts"}
    assert sources(spec_of(files=[file]))["/etc/hosts"].endswith("/file-0")
    # What the request itself wants in there is there.
    asked = spec_of(mounts=[above], hosts={"db": "10.0.0.1"}, timezone="UTC")
    assert set(sources(asked)) == {"/etc/hosts", "/etc/localtime", "/etc/timezone"}
    assert set(sources(spec_of(mounts=[above], dns={"servers": ["10.0.0.1"]}))) == {
        "/etc/resolv.conf"
    }


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/etc/hosts", {"hosts": {"db": "10.0.0.1"}}),
        ("/etc/resolv.conf", {"dns": {"search": ["x"]}}),
        ("/etc/localtime", {"timezone": "UTC"}),
        ("/etc/timezone", {"timezone": "UTC"}),
        ("/x", {"secrets": [{"name": "s", "value": "x", "target": "/x"}]}),
    ],
)
def test_two_things_at_one_place_are_refused(target: str, asked: dict[str, object]) -> None:
    for taken in (
        {"mounts": [{"type": "tmpfs", "target": target, "size": 65536}]},
        {"files": [{"target": target, "content": ""}]},
    ):
        with pytest.raises(InvalidSpec, match=f"{target} is given twice"):
            spec_of(**asked, **taken)


def test_public_keys_where_something_else_is_asked_for() -> None:
    place = "/home/app/.ssh/authorized_keys"
    for taken in (
        {"mounts": [{"type": "tmpfs", "target": place, "size": 65536}]},
        {"files": [{"target": place, "content": ""}]},
        {"secrets": [{"name": "s", "value": "x", "target": place}]},
    ):
        spec = spec_of(key_pair=PAIR, **taken)
        with pytest.raises(InvalidSpec, match="given twice") as caught:
            sources(spec, "/home/app")
        assert caught.value.field == "key_pair"
        assert place not in sources(spec_of(**taken), "/home/app") or "mounts" not in taken


def test_the_last_at_a_place_is_seen_and_parents_come_first() -> None:
    """A volume of the image where the request has a file would hide it."""
    image = ImageConfig(volumes=("/data/deep",))
    spec = spec_of(
        files=[{"target": "/data/deep", "content": ""}, {"target": "/data/x/y", "content": ""}],
        mounts=[{"type": "tmpfs", "target": "/data", "size": 65536}],
    )
    found = [
        one["destination"]
        for one in mounts(spec, NAMES, image, LAYOUT, "/", {})
        if one["destination"].startswith("/data")
    ]
    assert found == ["/data", "/data/deep", "/data/x/y"]
