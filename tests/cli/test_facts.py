"""What `inspect -o table` and `ps` say of all that a spec can ask for."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.node import NOW, status
from longshore.cli import facts, tables
from longshore.model.spec import parse
from longshore.model.status import ContainerStatus

ID = "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
GIB = 2**30


def shown(changes: dict[str, Any] | None = None, **spec: Any) -> list[tuple[str, str]]:
    one = status(parse({"id": ID, "name": "web", "image": "busybox:1", **spec}), "running")
    value = ContainerStatus.model_validate({**one.to_dict(), **(changes or {})})
    return facts.container_facts(value, NOW + 60)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"mounts": [{"type": "volume", "name": "data", "target": "/d"}]},
         ("Mount", "volume data at /d (writable)")),
        ({"mounts": [{"type": "bind", "source": "/s", "target": "/d", "recursive": "disabled"}]},
         ("Mount", "/s at /d (writable, rprivate, mounts beneath it disabled)")),
        ({"mounts": [{"type": "tmpfs", "size": 4096, "target": "/d", "executable": True}]},
         ("Mount", "/d (tmpfs, 4 KiB, executable)")),
        ({"entrypoint": ["/bin/sh", "a b"]}, ("Entrypoint", "/bin/sh 'a b'")),
        ({"entrypoint": []}, ("Entrypoint", "none")),
        ({"env": {"A": "1"}}, ("Env", "A=1")),
        ({"workdir": "/srv"}, ("Folder", "/srv")),
        ({"stop_signal": "SIGINT"}, ("Stop signal", "SIGINT")),
        ({"files": [{"target": "/f", "content": "x", "uid": 7}]},
         ("File", "/f (mode 0644, user 7, group 0)")),
        ({"secrets": [{"name": "s", "value": "hidden", "mode": 0o440}]},
         ("Secret", "s at /run/secrets/s (mode 0440, user 0, group 0)")),
        ({"secrets": [{"name": "s", "reference": "r", "target": "/t"}]},
         ("Secret", "s at /t (mode 0400, user 0, group 0, the node's r)")),
        ({"key_pair": {"name": "ann", "public_keys": [KEY]}}, ("Key pair", "ann (1 public key)")),
        ({"domain": "example.org"}, ("Host name", "web.example.org")),
        ({"hosts": {"db": "10.0.0.5"}}, ("Host", "db is 10.0.0.5")),
        ({"dns": {"servers": ["10.0.0.1", "10.0.0.2"]}}, ("DNS", "servers 10.0.0.1 10.0.0.2")),
        ({"timezone": "Europe/Berlin"}, ("Time zone", "Europe/Berlin")),
        ({"user": "app", "groups": ["audio", "44"]}, ("User", "app and audio, 44")),
        ({"groups": ["44"]}, ("User", "the image's and 44")),
        (
            {
                "init": True,
                "auto_remove": True,
                "security": {"privileged": True, "read_only_rootfs": True,
                             "cap_add": ["SYS_TIME"], "cap_drop": ["ALL"]},
            },
            ("With", "privileged, read-only root file system, an init process, "
                     "removed once it has ended, +SYS_TIME, -ALL"),
        ),
        ({"security": {"devices": [{"source": "/dev/fuse", "access": "rw"}]}},
         ("Device", "/dev/fuse at /dev/fuse (rw)")),
        ({"security": {"sysctls": {"net.core.somaxconn": "9"}}},
         ("Sysctl", "net.core.somaxconn=9")),
        ({"annotations": {"a": "b"}}, ("Annotation", "a=b")),
        ({"flavor": {"name": "general"}}, ("Flavor", "general")),
        ({"host_network": True}, ("Network", "the node's own")),
    ],
    ids=lambda one: str(one)[:40],
)  # fmt: skip
def test_what_was_asked_for_is_shown(spec: dict[str, Any], says: tuple[str, str]) -> None:
    assert says in shown(**spec)


def test_what_was_not_asked_for_is_not() -> None:
    names = {"Container", "Id", "Image", "Digest", "Command", "Status", "Wanted", "Version",
             "Reason", "Created", "Started", "Pid", "Nic", "Limits"}  # fmt: skip
    assert {name for name, _ in shown()} == names


def test_what_is_there_is_shown() -> None:
    told = shown(
        {
            "ids": {"first": 100000, "size": 65536},
            "out_of_memory": {"at": NOW, "cgroup": "/x/1", "peak": GIB, "limit": 2 * GIB},
            "mounts": [{"type": "anonymous", "source": ID, "target": "/data"}],
            "limits": {
                "memory": GIB,
                "oom_policy": "pause",
                "shm_size": 4096,
                "ulimits": [{"name": "core", "soft": 0, "hard": 1}],
                "io": [{"device": "/dev/vda", "read_bps": 9}],
                "hugepages": {"2MB": 2**21},
            },
        }
    )
    for line in (
        ("Users", "0 is 100000 on the node, 65536 of them"),
        ("Out of memory", "1 minute ago, at most 1 GiB of 2 GiB in /x/1"),
        ("Mount", "/data (anonymous)"),
        ("Limits", "memory 1 GiB, oom_policy pause, ulimits core=0:1, shm_size 4 KiB, "
                   "io /dev/vda (read_bps=9), hugepages 2MB=2 MiB"),
    ):  # fmt: skip
        assert line in told


def test_a_newer_agents_spec_is_no_obstacle() -> None:
    known = shown()
    assert shown({"spec": {}}) == known
    assert shown({"spec": {"mounts": [], "brand_new": {"a": 1}}}) == known


def test_ps_tells_of_memory_and_of_the_nodes_network() -> None:
    one = status(parse({"id": ID, "name": "w", "image": "b", "host_network": True}), "stopped")
    ended = ContainerStatus.model_validate(
        {**one.to_dict(), "exit_code": 137, "finished_at": NOW, "out_of_memory": {"at": NOW}}
    )
    row = tables.container_row(ended, NOW + 60, whole=False)
    assert row[4:6] == ("Exited (137, out of memory) 1 minute ago", "the node's")
