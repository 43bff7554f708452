"""Images by a registry with TLS, by commit and by archive; and a pull that is killed."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.lab.bad_registry import BadRegistry
from bench.lab.certificates import Authority
from bench.lab.faults import Fault, stall
from bench.lab.image import Layout, base_layer, layout_of, tar_of
from bench.lab.registry import PrivateRegistry
from bench.lab.token_server import PASSWORD, USER
from vm.node import (
    IMAGE,
    UNIT,
    agent_with,
    bus,
    containers,
    longshore,
    remove_all,
    running,
    settle,
    sh,
    show,
    status,
    unit,
    until,
)

_MIB = 2**20
_VOLUMES = Path("/var/lib/longshore/data")
_ARCHIVES = Path("/var/lib/longshore/images")
_COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 1; done"
#: By name, so that the agent has to resolve one.
_HOST = "localhost"
#: struct vfs_cap_data (linux/capability.h): version 2, effective, NET_BIND_SERVICE permitted.
_FILE_CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
_CAPABILITY = "security.capability"
_CHANGES = ("VOLUME /data", "USER app", "WORKDIR /made/by/nobody", "CMD sleep 1000")
_FILL = "mkdir /data && cp /bin/busybox /data/tool && chown -R 1000:2000 /data && chmod 750 /data"
_LAYER = 8 * _MIB


@contextmanager
def _configured(text: str, **options: str) -> Iterator[None]:
    """The agent with these settings of registries, and other options."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # the unit has the node's own /tmp
        settings = Path(folder) / "registries.toml"
        settings.write_text(text)
        settings.chmod(0o600)
        with agent_with({"OS_IMAGES__REGISTRIES": str(settings), **options}):
            sh("systemctl", "restart", UNIT)
            settle()
            yield


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


def _registry_settings(host: str, ca: Path) -> str:
    return f'[registry."{host}"]\nca = "{ca}"\n'


@contextmanager
def _registry(**options: str) -> Iterator[tuple[PrivateRegistry, str]]:
    """Debian's, with TLS and basic authentication, and how names of its images begin."""
    with _folder() as folder:
        authority = Authority(folder / "pki")
        certificate = authority.issue("registry")
        with PrivateRegistry(folder, tls=certificate, ca=authority.pem, basic=True) as registry:
            host = f"{_HOST}:{registry.port}"
            secret = folder / "password"
            secret.write_text(f"{PASSWORD}\n")
            secret.chmod(0o600)
            text = f'{_registry_settings(host, authority.pem)}credential = "check"\n'
            text += f'[credential.check]\nregistry = "{host}"\nusername = "{USER}"\n'
            text += f'password_file = "{secret}"\n'
            with _configured(text, **options):
                yield registry, host


def _content() -> set[str]:
    """What containerd has of images: blobs, half-fetched ones, unpacked layers."""
    found = {f"blob {one}" for one in _ctr("content", "ls", "-q")}
    found |= {f"ingest {one}" for one in _ctr("content", "active")[1:]}
    return found | {f"snapshot {one.split()[0]}" for one in _ctr("snapshots", "ls")[1:]}


def _ctr(*words: str) -> list[str]:
    return sh("ctr", "-n", "longshore", *words).splitlines()


def _names() -> set[str]:
    return set(longshore("image", "ls", "-q").split())


def _journey(runtime: str) -> Callable[[], str]:
    """An image is made by commit, goes away by push and save, and comes back by each way."""

    def check() -> str:
        before, names = _content(), _names()
        with _registry(OS_CONTAINERD__RUNTIME=runtime) as (registry, host):
            assert status()["runtime"] == runtime
            image = f"{host}/check/made:1"
            try:
                _commit(image)
                digest = longshore("push", "-q", image).splitlines()[-1]
                _removed(image, left=before)
                pulled = json.loads(longshore("pull", "-o", "json", image).splitlines()[-1])
                assert pulled["digest"] == digest, (pulled, digest)
                methods = [one.method for one in registry.requests(".*/manifests/.*")]
                assert methods.count("PUT") == 1, methods
                told = _run(image)
                _archived(image, digest, before)
                _removed(image, left=before)
            finally:
                _forget(image)
        assert _names() == names
        return told

    return check


def _commit(image: str) -> None:
    """Of a running container, whose processes are frozen meanwhile and go on after it."""
    command = f"{_FILL} && {_COUNT}"
    with running("check-commit", command=command) as found:
        tool = Path(f"/proc/{found['pid']}/root/data/tool")
        until(lambda: longshore("logs", "check-commit"), "it counts")
        os.setxattr(tool, _CAPABILITY, _FILE_CAPABILITY)
        changes = [word for one in _CHANGES for word in ("-c", one)]
        longshore("commit", "-m", "made by a check", *changes, "check-commit", image)
        seen = longshore("logs", "check-commit")
        until(lambda: longshore("logs", "check-commit") != seen, "it counts again")
        assert show("check-commit")["pid"] == found["pid"]


def _run(image: str) -> str:
    """A create pulls it; it has the image's user, folder and volume; in use it is not removed."""
    with running("check-made", "--pull", "always", image=image) as found:
        process = Path(f"/proc/{found['pid']}")
        assert (process / "cwd").readlink() == Path("/made/by/nobody")
        assert "\nUid:\t1000\t1000\t1000\t1000\n" in (process / "status").read_text()
        folder = process / "root/data"
        there = [os.stat(one) for one in (folder, folder / "tool")]
        assert [(one.st_uid, one.st_gid) for one in there] == [(1000, 2000)] * 2, there
        assert there[0].st_mode & 0o777 == 0o750, oct(there[0].st_mode)
        assert os.getxattr(folder / "tool", _CAPABILITY) == _FILE_CAPABILITY
        assert os.stat(folder).st_dev != os.stat(process / "root").st_dev, "a volume"
        assert (_VOLUMES / found["id"]).is_dir()
        refused = longshore("image", "rm", image, code=5)
        assert "check-made" in refused, refused
    assert not (_VOLUMES / found["id"]).exists()
    return refused.splitlines()[0]


def _archived(image: str, digest: str, before: set[str]) -> None:
    """To a file of the caller's, and by the bus to one of the node's."""
    with _folder() as folder:
        longshore("image", "save", "-o", folder / "made.tar", image)
        _removed(image, left=before)
        longshore("image", "load", folder / "made.tar")
    assert json.loads(longshore("image", "inspect", image))["digest"] == digest
    archive = _ARCHIVES / f"check-{uuid.uuid4()}.tar"
    with bus() as (nodes, node):
        try:
            nodes.save_images(node, [image], archive)
            nodes.remove_image(node, image)
            assert [one.digest for one in nodes.load_image(node, archive)] == [digest]
        finally:
            archive.unlink(missing_ok=True)


def _removed(image: str, *, left: set[str]) -> None:
    longshore("image", "rm", image)
    longshore("image", "prune", "--yes")
    more = _content() - left
    assert not more, more


def _forget(image: str) -> None:
    """Where a check has failed, too."""
    for words in (("rm", image), ("prune", "--yes")):
        subprocess.run(["longshore", "image", *words], capture_output=True, check=False)


def killed() -> str:
    """The agent dies in mid-pull of a create; the next one goes on with both, unasked."""
    before = _content()
    big = tar_of({"big": os.urandom(_LAYER)})
    layout = layout_of("big", [base_layer(), big])
    layer = _layers(layout)[1]["digest"]
    spec: dict[str, Any] = {"id": str(uuid.uuid4()), "name": "check-killed"}
    with _folder() as folder:
        authority = Authority(folder / "pki")
        with BadRegistry(authority.issue("registry")) as registry:
            host = registry.host.replace("127.0.0.1", _HOST)
            registry.serve(layout, "1")
            registry.order(Fault("blob", stall(_LAYER // 2), times=1, target=layer))
            with _configured(_registry_settings(host, authority.pem)), bus() as (nodes, node):
                spec["image"] = f"{host}/check/big:1"
                nodes.create(node, spec, wait="accepted")
                try:
                    until(lambda: _done(layer) >= _LAYER // 4, "half of it is here")
                    dead = unit("MainPID")["MainPID"]
                    sh("kill", "-9", dead)
                    settle()
                    assert unit("MainPID")["MainPID"] not in ("0", dead)
                    until(lambda: show(spec["id"])["state"] == "running", "its container runs")
                    found = Path(f"/proc/{show(spec['id'])['pid']}/root/big").read_bytes()
                    nodes.delete(node, spec["id"], force=True)
                    _removed(spec["image"], left=before)
                finally:
                    remove_all()
                    _forget(spec["image"])
        begun = [one.start or 0 for one, _ in registry.seen if one.target == layer]
    assert tar_of({"big": found}) == big
    assert len(begun) == 2, begun
    assert 0 == begun[0] < begun[1], begun
    return f"went on at byte {begun[1]}"


def _layers(layout: Layout) -> list[Mapping[str, Any]]:
    manifest = layout.blobs[layout.manifests[0]["digest"].removeprefix("sha256:")]
    layers: list[Mapping[str, Any]] = json.loads(manifest)["layers"]
    return layers


def _done(layer: str) -> int:
    parts = [part for one in status()["transfers"] for part in one["layers"]]
    return sum(part["done"] for part in parts if part["digest"] == layer)


def unreachable() -> str:
    """Neither Keystone nor a registry answers: said in one line, without the password."""
    glance = {
        "OS_GLANCE__AUTH_URL": f"https://{_HOST}:1/v3",
        "OS_GLANCE__USERNAME": "longshore",
        "OS_GLANCE__PASSWORD": PASSWORD,
    }
    before = _content()
    with _configured("", **glance):
        told = [
            longshore("pull", "-q", name, code=4).splitlines()[0]
            for name in ("glance://check", f"{_HOST}:1/check/none:1")
        ]
        with running("check-offline"):
            assert show("check-offline")["image"].endswith(IMAGE)
        create = ("run", "-d", "--pull", "always", "--name", "check-none", "glance://check")
        told.append(longshore(*create, code=4))
        assert containers() == []
    assert not [one for one in told if PASSWORD in one], told
    assert _content() == before
    return told[0]


CHECKS = (
    ("images by crun", _journey("crun")),
    ("images by runc", _journey("runc")),
    ("images: kill -9 in a pull", killed),
    ("images: nobody answers", unreachable),
)
