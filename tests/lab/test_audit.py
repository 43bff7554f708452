"""The audit sees each kind of thing that could be left; one that saw nothing would always pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from bench.lab import mounts
from bench.lab.host import Scope, audit, elements

CGROUPS = Path("/sys/fs/cgroup")


def ran(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, timeout=20)


def test_a_process_that_names_or_stands_in_the_folder(lab: Path) -> None:
    sleep = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    for words, cwd in (([*sleep, f"--socket=unix://{lab}/s"], None), (sleep, lab)):
        with subprocess.Popen(words, stdin=subprocess.PIPE, cwd=cwd) as child:
            assert any(
                line.startswith(f"process {child.pid}:") for line in audit(Scope([lab], ids=[]))
            )
            child.communicate(timeout=10)


def test_a_mount_and_a_namespace_file(lab: Path) -> None:
    (lab / "run/netns").mkdir(parents=True)
    (lab / "run/netns/left").touch()
    ran("mount", "--bind", "/proc/self/ns/net", lab / "run/netns/left")
    found = audit(Scope([lab], ids=[]))
    mounts.unmount_all(lab)
    assert found == [f"mount {lab}/run/netns/left (nsfs)", f"netns {lab}/run/netns/left"]
    (lab / "run/netns/left").unlink()


def test_a_bridge_and_a_veth_on_it() -> None:
    name = str(uuid4())
    veth, bridge = "lsh" + name.replace("-", "")[-12:], "lsha" + name[:6]
    scope = Scope(bridges=[bridge], ids=[name])
    ran("ip", "link", "add", bridge, "type", "bridge")
    try:
        ran("ip", "link", "add", veth, "type", "veth", "peer", "name", f"p{name[:8]}")
        ran("ip", "link", "set", veth, "master", bridge)
        found = audit(scope)
    finally:
        ran("ip", "link", "del", bridge)
    assert audit(Scope(ids=[name])) == [f"interface {veth}"]
    ran("ip", "link", "del", veth)
    assert set(found) == {f"interface {bridge}", f"interface {veth} on {bridge}"}
    assert audit(scope) == []


def test_a_table_and_its_elements() -> None:
    table = "lsh_audit_" + uuid4().hex[:8]
    ran("nft", "add", "table", "inet", table)
    try:
        ran("nft", f"add map inet {table} m {{ type inet_service : inet_service; }}")
        ran("nft", f"add element inet {table} m {{ 8080 : 80 }}")
        assert elements(table) == [f"nft inet {table} m: [8080, 80]"]
        found = audit(Scope(tables=[table], ids=[]))
    finally:
        ran("nft", "delete", "table", "inet", table)
    assert found == [f"nft table inet {table}", f"nft inet {table} m: [8080, 80]"]


def test_a_cgroup() -> None:
    name = str(uuid4())
    root = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "pids"
    folder = root / "longshore" / name
    parent_was_there = folder.parent.is_dir()
    folder.mkdir(parents=True)
    found = audit(Scope(ids=[name]))
    folder.rmdir()
    if not parent_was_there:
        folder.parent.rmdir()
    assert found == [f"cgroup {folder}"]
    assert audit(Scope(ids=[name])) == []
