"""Who asks a registry is told to that registry, and to nobody and nothing else."""

from __future__ import annotations

import base64
import contextlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.image import busybox_archive
from bench.lab.registry import PrivateRegistry
from bench.lab.token_server import PASSWORD, USER
from e2e.pulling import CREDENTIAL, Harbour
from fields.proofs import proves
from longshore.errors import ImageSourceDenied, LongshoreError
from longshore.model.transfer import Auth, Credential

#: Folders of what containers see, and of namespaces.
_ELSE = {"snapshots", "rootfs", "netns"}
GOOD, WRONG = Credential(USER, PASSWORD), Credential(USER, "n0t-the-pa55word")


@proves("image_credential", back="the registry, which lets only those in")
def test_credentials(harbour: Harbour, tmp_path: Path) -> None:
    lab, nodes, node = harbour.lab, harbour.nodes, harbour.node
    locked = _push(harbour.locked, tmp_path, "app:1")
    # Tokens for it are for USER alone.
    tokens = _push(harbour.tokens, tmp_path, "private/app:1")
    told: list[str] = []
    for image, credential in ((locked, WRONG), (tokens, WRONG), (locked, None)):
        spec = lab.spec(image=image)
        with pytest.raises(ImageSourceDenied) as caught:
            nodes.create(node, spec, credential=credential)
        told += _told(caught.value)
        assert lab.left() == [f"record of {spec['id']}"]
        assert lab.client.show(spec["id"]).state == "failed"
        nodes.delete(node, spec["id"])
    with pytest.raises(ImageSourceDenied) as caught:
        nodes.pull_image(node, locked, auth=Auth(WRONG))
    told += _told(caught.value)
    made = [
        nodes.create(node, lab.spec(image=locked), credential=GOOD),
        nodes.create(node, lab.spec(image=tokens, image_credential=CREDENTIAL)),
        lab.client.create(lab.spec(image=locked, pull="always"), credential=GOOD),
    ]
    assert [one.state for one in made] == ["running"] * 3
    told += [one.model_dump_json() for one in (*made, nodes.node_status(node))]
    wrongly = "".join(told)
    assert [secret for secret in _secrets() if secret in wrongly] == []
    # While they run, and after the journal has been closed.
    assert list(_found(harbour)) == []
    lab.agent.stop()
    assert list(_found(harbour)) == []
    lab.agent.start()
    for one in made:
        nodes.delete(node, one.id, force=True)
    assert list(_found(harbour)) == []
    assert b" DEBUG longshore." in lab.agent.log.read_bytes()
    harbour.forget(locked, tokens)


def _push(registry: PrivateRegistry, folder: Path, name: str) -> str:
    registry.push(busybox_archive(folder / "app.tar", "app:1", files={"/x": name.encode()}), name)
    return f"{registry.host}/{name}"


def _told(error: LongshoreError) -> list[str]:
    return [*traceback.format_exception(error), str(error.to_dict())]


def _secrets() -> list[str]:
    """As they are, and as HTTP has them."""
    pairs = [f"{USER}:{one.password}" for one in (GOOD, WRONG)]
    encoded = [base64.b64encode(pair.encode()).decode().rstrip("=") for pair in pairs]
    return [GOOD.password, WRONG.password, *encoded]


def _found(harbour: Harbour) -> Iterator[str]:
    """Files of the agent and of containerd that a secret is in: log, journal, records, metadata."""
    secrets = [secret.encode() for secret in _secrets()]
    looked = set()
    for root in (harbour.lab.agent.home, harbour.lab.containerd.home):
        for file in _files(root):
            # What containerd collects meanwhile is gone.
            with contextlib.suppress(FileNotFoundError):
                data = file.read_bytes()
                looked.add(file.name)
                yield from (f"{file}: {secret!r}" for secret in secrets if secret in data)
    assert {"agent.log", "journal.sqlite", "meta.db", "containerd.log"} <= looked


def _files(root: Path) -> Iterator[Path]:
    """Regular files beneath; a folder that is removed meanwhile is passed over."""
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name not in _ELSE]
        for name in names:
            if (file := Path(folder, name)).is_file():
                yield file
