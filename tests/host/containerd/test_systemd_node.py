"""Under systemd the agent may do less than containerd, whose children the containers are."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from host.containerd.test_oci import IMAGE, LAYOUT, NODE
from longshore.errors import HostUnavailable
from longshore.host.containerd import introspect
from longshore.host.containerd.client import Client
from longshore.host.containerd.node import detect
from longshore.host.containerd.oci import oci_spec
from longshore.model.host import Runtime, User
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec

CRUN = Runtime("crun", "crun", True, "")


@pytest.fixture
def confined() -> Iterator[int]:
    """Pid of a process with less than this one has."""
    # By the shell, not between fork and exec: other threads of this process may hold locks then.
    words = "ulimit -n 64; echo ready; exec setpriv --bounding-set=-all,+kill,+chown cat"
    with subprocess.Popen(
        ["sh", "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("it is cat\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "it is cat\n"
        yield process.pid
        process.stdin.close()


def test_containers_get_what_containerd_has(confined: int) -> None:
    node = detect(CRUN, containerd=confined)
    assert node.capabilities == {"CAP_KILL", "CAP_CHOWN"}
    assert node.rlimits["nofile"] == 64
    assert detect(CRUN).capabilities > node.capabilities


def test_containerd_is_who_listens(client: Client, containerd: PrivateContainerd) -> None:
    pid = introspect.pid(client)
    assert pid is not None
    assert Path(f"/proc/{pid}/comm").read_text().strip() == "containerd"


def test_nobody_listens(tmp_path: Path) -> None:
    client = Client(tmp_path / "none.sock", "longshore")
    with pytest.raises(HostUnavailable, match="cannot reach containerd"):
        introspect.pid(client)
    client.close()


@pytest.mark.parametrize(
    ("grace", "wanted"),
    [(10.0, "uint64 10000000"), (0.0, "uint64 100000"), (86400.0, "uint64 90000000")],
)
def test_systemd_gives_each_its_own_grace(grace: float, wanted: str) -> None:
    id = "00000000-0000-4000-8000-000000000001"
    spec = ContainerSpec(id=id, name="web", image="web:1", stop_grace=grace)
    node = dataclasses.replace(NODE, systemd_cgroup=True)
    made = oci_spec(spec, Names(id), IMAGE, User(), LAYOUT, node)
    assert made["annotations"] == {"org.systemd.property.TimeoutStopUSec": wanted}
    assert "annotations" not in oci_spec(spec, Names(id), IMAGE, User(), LAYOUT, NODE)
