"""--file, --secret and --key-pair: what they name is read here, and no value shown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from fakes.node import FakeNode
from fakes.shell import Shell
from longshore.model.injected import FILE_MAX, REVEAL, SECRET_MAX

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@home"
VALUE = "correct-horse-battery"
FILE = {"encoding": "text", "mode": 0o644, "uid": 0, "gid": 0}
SECRET = {
    "name": "db", "value": None, "encoding": "text", "reference": None,
    "target": None, "mode": 0o400, "uid": 0, "gid": 0,
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "motd").write_text("ahoy\n")
    (tmp_path / "blob").write_bytes(b"\xff\0")
    (tmp_path / "password").write_text(VALUE)
    (tmp_path / "me.pub").write_text(f"# mine\n{KEY}\n\n")
    (tmp_path / "me").write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{VALUE}\n")
    return tmp_path


CASES: list[tuple[list[str], str, Any]] = [
    (["--file", "/etc/motd=motd"], "files", [{"target": "/etc/motd", "content": "ahoy\n", **FILE}]),
    (
        ["--file", "/a=./motd,mode=600,uid=70,gid=71", "--file", "/b=blob"],
        "files",
        [
            {"target": "/a", "content": "ahoy\n", "encoding": "text",
             "mode": 0o600, "uid": 70, "gid": 71},
            {"target": "/b", "content": base64.b64encode(b"\xff\0").decode(),
             **FILE, "encoding": "base64"},
        ],
    ),
    (["--secret", "id=db"], "secrets", [{**SECRET, "reference": "db"}]),
    (["--secret", "id=db,ref=prod"], "secrets", [{**SECRET, "reference": "prod"}]),
    (["--secret", "id=db,src=password"], "secrets", [{**SECRET, "value": VALUE}]),
    (["--secret", "env=PASSWORD,id=db"], "secrets", [{**SECRET, "value": VALUE}]),
    (
        ["--secret", "id=db,src=blob,target=/run/x,mode=0440,uid=70,gid=71"],
        "secrets",
        [{**SECRET, "value": base64.b64encode(b"\xff\0").decode(), "encoding": "base64",
          "target": "/run/x", "mode": 0o440, "uid": 70, "gid": 71}],
    ),
    (["--key-pair", "ann=me.pub"], "key_pair", {"name": "ann", "public_keys": [KEY]}),
    (
        ["--key-pair", "a=me.pub", "--key-pair", "a=me.pub"],
        "key_pair",
        {"name": "a", "public_keys": [KEY, KEY]},
    ),
    (["--ssh-key", "./me.pub"], "key_pair", {"name": "me", "public_keys": [KEY]}),
]  # fmt: skip


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("options", "field", "expected"), CASES, ids=lambda one: str(one)[:40])
def test_what_is_named_is_read(
    shell: Shell, node: FakeNode, options: list[str], field: str, expected: Any
) -> None:
    result = shell.run("create", *options, "busybox:1", env={"PASSWORD": VALUE})
    assert (result.exit_code, result.stderr) == (0, "")
    [spec] = node.specs.values()
    assert spec.model_dump(mode="json", context=REVEAL)[field] == expected


@pytest.mark.usefixtures("here")
def test_a_secret_survives_that_ports_are_added(shell: Shell, node: FakeNode) -> None:
    shell.out("create", "-P", "--secret", "id=db,src=password", "busybox:1")
    [spec] = node.specs.values()
    assert spec.secrets[0].data == VALUE.encode()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--file", "motd"], "'--file': 'motd' is no file: write TARGET=PATH"),
        (["--file", "/a=/nowhere"], "cannot read /nowhere: No such file"),
        (["--file", "/a=/dev/zero"], f"/dev/zero has more than {FILE_MAX} bytes"),
        (["--file", "/a=motd,mode=rw"], "mode: 'rw' is no mode"),
        (["--file", "/a=motd,owner=x"], "has a key other than mode, uid, gid"),
        (["--file", "/a=motd", "--file", "/a=motd"], "target /a is given twice"),
        (["--secret", "src=password"], "'--secret': a secret has one name"),
        (["--secret", VALUE], "a secret has one name"),
        (["--secret", f"id=db,{VALUE}"], "has a key other than id, src, source, env, ref, target"),
        (["--secret", "id=db,src=password,env=PASSWORD"], "comes from src and env"),
        (["--secret", "id=db,env=NOWHERE"], "there is no variable NOWHERE"),
        (["--secret", "id=db,src=/dev/zero"], f"/dev/zero has more than {SECRET_MAX} bytes"),
        (["--secret", "id=db", "--secret", "id=db"], "secret db is given twice"),
        (["--secret", "id=db,src=password,mode=77777"], "mode: '77777' is no mode"),
        (["--key-pair", "me"], "me is a private key: its public one is mostly me.pub"),
        (["--key-pair", "motd"], "key_pair.public_keys[0]: must begin with the key's type"),
        (["--key-pair", "blob"], "blob has no public key: it is not UTF-8"),
        (["--key-pair", "ann=me.pub", "--key-pair", "bob=me.pub"], "not ann and bob"),
        (["--key-pair", "a b=me.pub"], "key_pair.name: must be 1 to 63"),
        (["--key-pair", "x=/dev/null"], "key_pair.public_keys: must have at least 1"),
    ],
    ids=lambda one: str(one)[:40],
)
@pytest.mark.usefixtures("here")
def test_what_is_wrong_is_refused_and_no_secret_shown(
    shell: Shell, node: FakeNode, options: list[str], says: str
) -> None:
    result = shell.run("create", *options, "busybox:1", env={"PASSWORD": VALUE})
    assert says in result.stderr
    assert VALUE[:8] not in result.stderr
    assert (result.exit_code, result.stdout, node.calls) == (2, "", {})
