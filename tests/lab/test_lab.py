"""The private neighbours start, crash, come back, stop, and leave nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from uuid import uuid4

import pytest

from bench.lab import mounts, process
from bench.lab.containerd import PrivateContainerd
from bench.lab.damage import DAMAGES, damaged_archive
from bench.lab.host import Scope, audit
from bench.lab.image import Config, busybox_archive
from bench.lab.rabbitmq import PrivateRabbit

ROOT = Path(__file__).parents[2]
SLEEP = Config(command=("sleep", "600"))


def run(containerd: PrivateContainerd, runtime: str) -> str:
    """A container that sleeps; returns its id."""
    name = str(uuid4())
    containerd.ctr(
        "run", "-d", "--null-io", "--runc-binary", runtime, "busybox:latest", name
    )  # fmt: skip
    return name


def load(containerd: PrivateContainerd, lab: Path) -> None:
    containerd.ctr("images", "import", busybox_archive(lab / "image.tar", config=SLEEP))


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_containers_live_through_a_crash_and_a_restart_and_end_at_stop(
    lab: Path, containerd: PrivateContainerd, runtime: str
) -> None:
    load(containerd, lab)
    name = run(containerd, runtime)
    scope = Scope(folders=[lab], ids=[name])
    before = containerd.shims()
    assert len(before) == 1

    first = containerd.pid
    containerd.kill()
    assert process.look(first) is None
    containerd.start()
    containerd.restart()
    assert containerd.pid != first
    assert containerd.shims() == before
    assert f"task {name}" in containerd.leftovers()
    assert any("cgroup" in line for line in audit(scope))
    assert any(line.startswith("runtime state") for line in audit(scope))

    containerd.stop()
    assert audit(scope) == []


def test_stop_finds_the_shims_of_a_containerd_that_crashed(
    lab: Path, containerd: PrivateContainerd
) -> None:
    load(containerd, lab)
    names = [run(containerd, "runc") for _ in range(2)]
    containerd.kill()
    PrivateContainerd(lab).stop()  # another object, as another process would make it
    assert audit(Scope(folders=[lab], ids=names)) == []


def test_mounts_made_later_reach_the_containers(lab: Path, containerd: PrivateContainerd) -> None:
    load(containerd, lab)
    for name in ("source", "volume"):
        (lab / name).mkdir()
    (lab / "source/file").write_text("seen through the mount")
    subprocess.run(["mount", "--bind", lab / "source", lab / "volume"], check=True)
    said = containerd.ctr(
        "run", "--rm", "--mount", f"type=bind,src={lab}/volume,dst=/v,options=rbind:ro",
        "busybox:latest", str(uuid4()), "cat", "/v/file",
    )  # fmt: skip
    assert said == "seen through the mount"


def test_leftovers_names_what_containerd_holds(lab: Path, containerd: PrivateContainerd) -> None:
    load(containerd, lab)
    assert containerd.leftovers() == []
    containerd.ctr("containers", "create", "busybox:latest", "left")
    containerd.ctr("leases", "create", "--id", "create-left")
    assert containerd.leftovers() == ["container left", "lease create-left", "snapshot left"]


def test_an_image_variant_keeps_its_config_and_its_second_layer(
    lab: Path, containerd: PrivateContainerd
) -> None:
    archive = busybox_archive(
        lab / "variant.tar",
        "variant:1",
        config=Config(command=("sh", "-c", "id -un; cat /etc/motd; ls /etc"), user="app"),
        files={"/etc/motd": b"second layer\n", "/etc/.wh.group": b""},
        compress=False,
    )
    containerd.ctr("images", "import", archive)
    said = containerd.ctr("run", "--rm", "variant:1", str(uuid4()))
    assert said.split("\n")[:4] == ["app", "second layer", "motd", "passwd"]


def test_every_damaged_archive_is_refused(lab: Path, containerd: PrivateContainerd) -> None:
    accepted = []
    for damage in DAMAGES:
        try:
            containerd.ctr("images", "import", damaged_archive(lab / f"{damage}.tar", damage))
        except RuntimeError:
            continue
        accepted.append(damage)
    assert accepted == []


def test_an_archive_is_the_same_bytes_on_every_build(tmp_path: Path) -> None:
    one, two = (busybox_archive(tmp_path / name).read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_broken_configuration_says_what_containerd_said(lab: Path) -> None:
    containerd = PrivateContainerd(lab)
    containerd.home.mkdir(parents=True)
    (containerd.home / "root").write_text("in the way of a folder")
    with pytest.raises(RuntimeError, match="not a directory"), containerd:
        pass


def test_rabbitmq_comes_back_on_its_port_and_leaves_no_process(
    lab: Path, rabbit: PrivateRabbit
) -> None:
    url, first = rabbit.url, rabbit.pid
    rabbit.kill()
    assert process.look(first) is None
    rabbit.start()
    assert rabbit.url == url
    assert rabbit.pid != first
    with socket.create_connection(("127.0.0.1", rabbit.port), timeout=5) as wire:
        wire.sendall(b"AMQP\0\0\x09\x01")
        assert wire.recv(1) == b"\x01"  # a method frame: Connection.Start
    rabbit.stop()
    assert audit(Scope(folders=[lab], ids=[])) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", rabbit.port), timeout=5)


def test_sigterm_ends_what_was_started(lab: Path) -> None:
    script = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from bench.lab.containerd import PrivateContainerd
        from bench.lab.signals import exit_on_sigterm
        with exit_on_sigterm(), PrivateContainerd(Path({str(lab)!r})) as containerd:
            print(containerd.pid, flush=True)
            time.sleep(60)
        """
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None
    with child.stdout:
        pid = int(child.stdout.readline())
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) == 128 + signal.SIGTERM
    assert process.look(pid) is None
    assert mounts.beneath(lab) == []


def test_a_stranger_with_a_recorded_pid_is_left_alone(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{os.getpid()} 1\n")  # our pid, another start time
    assert process.recorded(pid_file) is None
