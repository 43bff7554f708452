"""Files, secrets and the node's part of /etc: what a container sees, and what nobody else does."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import traceback
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.rabbitmq import PrivateRabbit
from e2e.lab import Lab, running_lab, states, until
from fields.proofs import proves
from longshore.bus.client import ComputeClient
from longshore.errors import InvalidSpec, LongshoreError, SecretNotFound
from longshore.model.spec import parse
from longshore.model.status import ContainerStatus

#: Values of secrets: of the first, the second and a refused request, and of the node's own file.
FIRST, SECOND, REFUSED = "s3cret-0ne-zKq81", "s3cret-tw0-Jx55p", "s3cret-n0ne-Uv20d"
OWN, NEWER = "s3cret-0wn-Lm93w", "s3cret-newer-Fd17b"
#: Folders of what containers see, and of namespaces.
_ELSE = {"snapshots", "rootfs", "netns"}
#: Each line of a file's nature and content; not the secrets' own, which would be in the log.
_LOOK = """
for f in /etc/app.conf /opt/deep/tool /run/secrets/password /run/token; do
    echo "$f $(stat -c '%u:%g %a' $f) $(sha256sum < $f | cut -c 1-64)"
done
/opt/deep/tool
echo more >> /etc/app.conf && echo "conf is mine"
(echo x > /run/secrets/password) 2>/dev/null || echo "secrets are read-only"
grep -h . /etc/hostname /etc/hosts /etc/resolv.conf /etc/timezone | sed 's/^/etc: /'
echo "winter: $(date -d @1700000000 +%H:%M)"
echo done
sleep 1000
"""


@pytest.fixture(scope="module")
def lab(containerd: PrivateContainerd, rabbit: PrivateRabbit) -> Iterator[Lab]:
    """One that says all that it does."""
    with running_lab(containerd, "inject", rabbit.url, options={"DEFAULT.debug": True}) as one:
        until(lambda: ("rabbitmq", "up") in states(one))
        one.agent.secrets.mkdir(mode=0o700)
        yield one


@pytest.fixture(scope="module")
def nodes(lab: Lab, rabbit: PrivateRabbit) -> Iterator[ComputeClient]:
    with ComputeClient(rabbit.url, origin="e2e") as client:
        yield client


def request_of(lab: Lab, value: str, **changes: object) -> dict[str, object]:
    tool = base64.b64encode(b"#!/bin/sh\necho tool runs\n").decode()
    return lab.spec(
        command=["sh", "-c", _LOOK],
        hostname="web",
        domain="example.test",
        hosts={"db": "192.0.2.9"},
        dns={"servers": ["192.0.2.53"], "search": ["example.test"], "options": ["ndots:2"]},
        timezone="Europe/Berlin",
        user="root",
        files=[
            {"target": "/etc/app.conf", "content": "port=1\n", "mode": 0o640, "uid": 5, "gid": 6},
            {"target": "/opt/deep/tool", "content": tool, "encoding": "base64", "mode": 0o755},
        ],
        secrets=[
            {"name": "password", "value": value, "uid": 1000, "gid": 7, "mode": 0o440},
            {"name": "token", "reference": "token", "target": "/run/token"},
        ],
        **changes,
    )


def said(lab: Lab, id: str, times: int = 1) -> list[str]:
    """All lines that it has written, once it has looked at everything."""

    def lines() -> list[str] | None:
        chunks = [chunk for chunk in lab.client.logs(id) if chunk.stream == "stdout"]
        found = b"".join(chunk.data for chunk in chunks).decode().splitlines()
        return found if found.count("done") == times else None

    return until(lines)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def seen(address: str, value: str, own: str) -> list[str]:
    """What a container says of what it was given."""
    return [
        f"/etc/app.conf 5:6 640 {digest('port=1' + chr(10))}",
        f"/opt/deep/tool 0:0 755 {digest('#!/bin/sh' + chr(10) + 'echo tool runs' + chr(10))}",
        f"/run/secrets/password 1000:7 440 {digest(value)}",
        f"/run/token 0:0 400 {digest(own)}",
        "tool runs",
        "conf is mine",
        "secrets are read-only",
        "etc: web",
        "etc: 127.0.0.1\tlocalhost",
        "etc: ::1\tlocalhost ip6-localhost ip6-loopback",
        f"etc: {address}\tweb.example.test web",
        "etc: 192.0.2.9\tdb",
        "etc: nameserver 192.0.2.53",
        "etc: search example.test",
        "etc: options ndots:2",
        "etc: Europe/Berlin",
        "winter: 23:13",
        "done",
    ]


@proves(
    "hostname", "domain", "hosts", "dns.servers", "dns.search", "dns.options", "timezone",
    "files[].target", "files[].content", "files[].encoding", "files[].mode", "files[].uid",
    "files[].gid", "secrets[].name", "secrets[].value", "secrets[].reference", "secrets[].target",
    "secrets[].mode", "secrets[].uid", "secrets[].gid",
    back="the files as the container itself reads them",
)  # fmt: skip
def test_what_is_given_is_there_and_secrets_nowhere_else(lab: Lab, nodes: ComputeClient) -> None:
    node, told = lab.agent.node, []
    (lab.agent.secrets / "token").write_text(OWN)
    # One over the bus, from a spec that was checked before, and asked for again; one on the node.
    spec, again = request_of(lab, FIRST), str(uuid.uuid4())
    made = nodes.create(node, parse(spec), request_id=again)
    other = lab.client.create(request_of(lab, SECOND))
    for one, value in ((made, FIRST), (other, SECOND)):
        assert said(lab, one.id) == seen(one.nics[0].address, value, OWN)
    assert nodes.create(node, spec, request_id=again) == made
    told += [one.model_dump_json() for one in (made, other, lab.client.show(made.id))]
    assert (
        lab.client.show(made.id).spec
        == made.spec
        == nodes.show(node, other.id).spec | {key: made.spec[key] for key in ("id", "name")}
    )
    told += _refusals(lab, nodes)
    # While they run, and when the journal has been closed.
    assert list(_found(lab, told)) == []
    lab.agent.stop()
    assert list(_found(lab, told)) == []
    # Its own secrets are read anew by a container's next start, not for one that runs.
    (lab.agent.secrets / "token").write_text(NEWER)
    lab.agent.start()
    until(lambda: ("rabbitmq", "up") in states(lab))
    assert lab.client.show(other.id).pid == other.pid
    assert _inside(other, "/run/token") == OWN
    folder = lab.agent.run_dir / "secrets"
    assert sorted(path.name for path in folder.iterdir()) == sorted([made.id, other.id])
    nodes.stop(node, made.id, grace=0.0)
    assert [path.name for path in folder.iterdir()] == [other.id]
    nodes.start(node, made.id)
    # What it wrote into its files has gone with its stop.
    assert said(lab, made.id, 2)[18:] == seen(made.nics[0].address, FIRST, NEWER)
    (lab.agent.secrets / "token").unlink()
    nodes.stop(node, made.id, grace=0.0)
    with pytest.raises(SecretNotFound) as caught:
        nodes.start(node, made.id)
    assert caught.value.object == "token"
    told.append(str(caught.value.to_dict()))
    lab.delete_all()
    assert list(_found(lab, told)) == []
    assert not folder.is_mount()
    lab.wait_clean()


def test_with_numbers_that_are_nobodys_on_the_node(lab: Lab) -> None:
    (lab.agent.secrets / "token").write_text(OWN)
    made = lab.client.create(request_of(lab, FIRST, security={"user_namespace": True}))
    assert said(lab, made.id) == seen(made.nics[0].address, FIRST, OWN)
    assert made.ids is not None
    assert made.pid is not None
    for path, uid in (("/etc/app.conf", 5), ("/run/secrets/password", 1000), ("/etc/hosts", 0)):
        assert _root(made, path).stat().st_uid == made.ids.first + uid
    lab.delete_all()
    lab.wait_clean()


@pytest.mark.parametrize("remapped", [False, True])
def test_it_can_fill_its_own_files_alone(lab: Lab, remapped: bool) -> None:
    """Nothing of the node's disk, and until it stops."""
    fill = """
    head -n 1 /etc/hosts; cat /etc/app.conf
    dd if=/dev/zero of=/etc/hosts bs=64k count=64 2>&1 | grep -o "No space left on device"
    echo more >> /etc/app.conf
    echo done; sleep 1000
    """
    made = lab.client.create(
        lab.spec(
            command=["sh", "-c", fill],
            files=[{"target": "/etc/app.conf", "content": "port=1\n"}],
            security={"user_namespace": remapped},
            stop_grace=0,
        )
    )
    told = ["127.0.0.1\tlocalhost", "port=1", "No space left on device", "done"]
    assert said(lab, made.id) == told
    lab.agent.kill()
    lab.agent.start()
    assert lab.client.show(made.id).pid == made.pid
    assert 2**20 <= _root(made, "/etc/hosts").stat().st_size < 2**20 + 2**16
    assert _inside(made, "/etc/app.conf") == "port=1\nmore\n"
    folder = lab.agent.state_dir / "containers" / made.id
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2**16
    lab.client.stop(made.id)
    assert list((lab.agent.run_dir / "injected").iterdir()) == []
    lab.client.start(made.id)
    assert said(lab, made.id, 2) == told * 2
    lab.delete_all()
    lab.wait_clean()


def test_read_only_and_without_any_nic(lab: Lab) -> None:
    """The runtime makes the places before it closes the file system; nothing can be written."""
    made = lab.client.create(
        lab.spec(
            command=["sh", "-c", "echo x > /etc/app.conf || echo no; cat /etc/hosts; sleep 1000"],
            nics=[],
            security={"read_only_rootfs": True},
            files=[{"target": "/etc/app.conf", "content": "", "mode": 0o666}],
            secrets=[{"name": "password", "value": FIRST}],
        )
    )
    until(lambda: f"127.0.1.1\t{made.name}\n" in _text(lab, made))
    assert "no\n" in _text(lab, made)
    assert _inside(made, "/run/secrets/password") == FIRST
    lab.delete_all()
    lab.wait_clean()


def _refusals(lab: Lab, nodes: ComputeClient) -> list[str]:
    """What callers are told whose requests held a secret and are refused."""
    told = []
    hidden = {"name": "password", "value": REFUSED}
    wrong: Mapping[str, tuple[type[LongshoreError], dict[str, object]]] = {
        "timezone": (InvalidSpec, {"timezone": "Mars/Olympus", "secrets": [hidden]}),
        "secrets[1].reference": (
            SecretNotFound,
            {"secrets": [hidden, {"name": "moon", "reference": "moon"}]},
        ),
        "secrets[0]": (InvalidSpec, {"secrets": [{**hidden, "encoding": "base64"}]}),
        "secrets[0].value": (InvalidSpec, {"secrets": [{**hidden, "value": [REFUSED]}]}),
        "secrets[1].name": (InvalidSpec, {"secrets": [hidden, hidden]}),
    }
    for field, (kind, changes) in wrong.items():
        with pytest.raises(kind) as caught:
            nodes.create(lab.agent.node, lab.spec(**changes))
        assert caught.value.field == field
        told += [*traceback.format_exception(caught.value)[-3:], str(caught.value.to_dict())]
    with pytest.raises(LongshoreError) as caught:
        nodes.create(lab.agent.node, lab.spec(image="moon:1", pull="never", secrets=[hidden]))
    return [*told, str(caught.value.to_dict())]


def _found(lab: Lab, told: list[str]) -> Iterator[str]:
    """Where a value is that should be nowhere: files of the agent and of containerd, answers."""
    values = [one.encode() for one in (FIRST, SECOND, REFUSED, OWN, NEWER)]
    values += [base64.b64encode(one).rstrip(b"=") for one in values]
    looked = set()
    journalled = False
    for file in (*_files(lab.agent.home), *_files(lab.containerd.home)):
        try:
            data = file.read_bytes()
        except FileNotFoundError:  # the agent and containerd are at work
            continue
        looked.add(file.name)
        journalled |= file.name.startswith("journal.sqlite") and b"/run/token" in data
        yield from (f"{file}: {value!r}" for value in values if value in data)
    assert {"agent.log", "journal.sqlite", "meta.db", "containerd.log", "secret.key"} <= looked
    # So much for looking in the right places.
    assert journalled
    assert b" DEBUG longshore." in lab.agent.log.read_bytes()
    dump = subprocess.run(
        ["ctr", "-a", lab.containerd.socket, "-n", lab.namespace, "containers", "ls"],
        check=True,
        capture_output=True,
    ).stdout
    answers = "".join([*told, dump.decode()]).encode()
    yield from (f"told: {value!r}" for value in values if value in answers)


def _files(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        at = Path(folder)
        folders[:] = [
            one for one in folders if one not in _ELSE and at / one != top / "run/secrets"
        ]
        yield from (at / one for one in files if (at / one).is_file())


def _root(made: ContainerStatus, path: str) -> Path:
    return Path(f"/proc/{made.pid}/root{path}")


def _inside(made: ContainerStatus, path: str) -> str:
    return _root(made, path).read_text()


def _text(lab: Lab, made: ContainerStatus) -> str:
    return b"".join(chunk.data for chunk in lab.client.logs(made.id)).decode()
