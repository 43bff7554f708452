"""What containers use, as this kernel counts it: real processes in real cgroups."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from host.blockkit import loop_disk
from host.statskit import (
    HIERARCHIES,
    ROOT,
    contain,
    emptied,
    open_files,
    parent,
    until,
    worker,
)
from longshore.host.stats import Usage
from longshore.host.stats_files import Room
from longshore.model.running import Running
from longshore.model.status import ContainerStats

MANY = 200
IS_V2 = HIERARCHIES == [ROOT]
#: Opens for one container, the first time: where it is, and each file of its cgroups.
OPENS = 16


@pytest.fixture
def where() -> Iterator[str]:
    with parent() as name:
        yield name


@pytest.fixture
def usage() -> Iterator[Usage]:
    one = Usage()
    yield one
    one.keep(())
    assert open_files() == {}


def reading(usage: Usage, one: Running) -> ContainerStats:
    return usage.read([one], time.time, {})[one.id]


class Opened:
    """Paths that this process opened, and folders that it listed, since `begin`.

    An audit hook cannot be taken away again, so there is one, which sleeps.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.listed: list[str] = []
        self.awake = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple[object, ...]) -> None:
        if self.awake and event == "open":
            self.paths.append(str(given[0]))
        elif self.awake and event in ("os.listdir", "os.scandir", "os.walk", "glob.glob"):
            self.listed.append(str(given[0]))

    def begin(self) -> None:
        self.paths, self.listed, self.awake = [], [], True

    def end(self) -> None:
        self.awake = False


@pytest.fixture(scope="module")
def opened() -> Opened:
    return Opened()


def test_cpu(usage: Usage, where: str) -> None:
    with worker() as one:
        container = contain(where, one.pid)
        before = reading(usage, container).cpu
        one.work(0.3)
        after = reading(usage, container).cpu
        assert 0.3 <= after.seconds - before.seconds < 1.0
        assert after.user_seconds + after.system_seconds == pytest.approx(after.seconds, abs=0.05)
        assert (after.cores, after.limit) == (None, None)


@pytest.mark.skipif(IS_V2, reason="writes v1's files")
@pytest.mark.parametrize("below", ["", "container"])
def test_throttling_on_whichever_level_the_quota_is(usage: Usage, where: str, below: str) -> None:
    with worker() as one:
        container = replace(contain(where, one.pid, below=below), cpus=0.1)
        level = ROOT / "cpu" / where / container.id / below
        (level / "cpu.cfs_quota_us").write_text("10000")
        one.work(0.1)
        cpu = reading(usage, container).cpu
        assert cpu.limit == 0.1
        assert cpu.periods >= cpu.throttled >= 1
        assert cpu.throttled_seconds > 0
        # Nothing is asked for where nothing is limited.
        assert reading(usage, replace(container, cpus=None)).cpu.periods == 0


@pytest.mark.skipif(IS_V2, reason="writes v1's files")
def test_memory(usage: Usage, where: str, tmp_path: Path) -> None:
    program = (
        "import os, sys; sys.stdin.readline(); held = bytearray(8_000_000)\n"
        "file = open(sys.argv[1], 'wb'); file.write(bytes(4_000_000)); file.flush()\n"
        "print(flush=True); sys.stdin.readline()"
    )
    with worker(program=(sys.executable, "-c", program, str(tmp_path / "file"))) as one:
        container = replace(contain(where, one.pid), memory=2**26)
        (ROOT / "memory" / where / container.id / "memory.limit_in_bytes").write_text(str(2**26))
        one.work(0)
        memory = reading(usage, container).memory
        assert memory.rss >= 8_000_000
        assert memory.cache >= 4_000_000
        assert memory.usage >= memory.working_set >= memory.rss
        assert memory.usage - memory.working_set >= 3_000_000
        assert memory.peak is not None
        assert 2**26 > memory.peak >= memory.usage * 0.9
        assert (memory.limit, memory.at_limit, memory.killed) == (2**26, 0, 0)


@pytest.mark.skipif(IS_V2, reason="writes v1's files")
@pytest.mark.parametrize("below", ["", "container"])
def test_being_killed_for_memory(usage: Usage, where: str, below: str) -> None:
    program = "import sys; sys.stdin.readline(); held = bytearray(64_000_000)"
    with worker() as first, worker(program=(sys.executable, "-c", program)) as greedy:
        container = contain(where, first.pid, below=below)
        contain(where, greedy.pid, id=container.id, below=below)
        folder = ROOT / "memory" / where / container.id
        (folder / "memory.limit_in_bytes").write_text(str(32_000_000))
        assert reading(usage, container).pids == 2
        greedy.end()
        memory = reading(usage, container).memory
        assert memory.killed == 1
        assert memory.at_limit > 0
        assert reading(usage, container).pids == 1


@pytest.mark.skipif(IS_V2, reason="v1 counts only what goes past the page cache")
def test_block_io(usage: Usage, where: str, tmp_path: Path) -> None:
    with loop_disk(tmp_path / "disk", 2**20) as device, worker() as first:
        container = contain(where, first.pid)
        assert reading(usage, container).block == ()
        for direction in (f"if={device} of=/dev/null iflag", f"if=/dev/zero of={device} oflag"):
            # It joins before it begins.
            script = (
                f"echo $$ > {ROOT}/blkio/{where}/{container.id}/cgroup.procs && "
                f"exec dd {direction}=direct bs=4096 count=3"
            )
            subprocess.run(["sh", "-c", script], check=True, capture_output=True)
        (block,) = reading(usage, container).block
        assert block.device == device
        assert (block.reads, block.read_bytes) == (3, 3 * 4096)
        assert (block.writes, block.write_bytes) == (3, 3 * 4096)


def test_a_disk_that_was_unplugged_is_a_number(where: str, tmp_path: Path) -> None:
    (tmp_path / "8:1").symlink_to("../../devices/cciss/c0d0!part")
    usage = Usage(devices=tmp_path)
    names: dict[str, str] = {}
    assert [usage._disk(one, names) for one in ("8:0", "8:1")] == ["8:0", "/dev/c0d0/part"]


def test_network_is_as_seen_from_inside(usage: Usage, where: str) -> None:
    """By the node's end of the pair, whose counters are the other way round."""
    with worker() as one:
        container = replace(contain(where, one.pid), interfaces=("eth0",))
        host, netns = container.names.veth, f"lsh{uuid4().hex[:8]}"
        assert reading(usage, container).network == ()
        ip = ["ip", "netns", "exec", netns]
        if shutil.which("ip") is None:
            pytest.skip("needs Debian's iproute2")

        def run(*words: str) -> str:
            return subprocess.run(words, check=True, capture_output=True, text=True).stdout

        run("ip", "netns", "add", netns)
        try:
            run("ip", "link", "add", host, "type", "veth", "peer", "eth0", "netns", netns)
            run("ip", "addr", "add", "10.213.77.1/30", "dev", host)
            run("ip", "link", "set", host, "up")
            run(*ip, "ip", "addr", "add", "10.213.77.2/30", "dev", "eth0")
            run(*ip, "ip", "link", "set", "eth0", "up")
            program = (
                "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                "[s.sendto(bytes(1000), ('10.213.77.1', 9)) for _ in range(100)]"
            )
            run(*ip, sys.executable, "-c", program)
            inside = run(*ip, "cat", "/proc/net/dev").splitlines()
            columns = next(one for one in inside if "eth0" in one).partition(":")[2].split()
            (network,) = reading(usage, container).network
        finally:
            run("ip", "netns", "del", netns)
        assert network.interface == "eth0"
        assert network.tx_packets >= 100
        assert network.tx_bytes >= 100_000
        assert network.rx_bytes < 100_000
        assert abs(network.tx_packets - int(columns[9])) < 20
        assert abs(network.rx_packets - int(columns[1])) < 20


def test_opens_of_many(usage: Usage, where: str, opened: Opened) -> None:
    """No folder is listed, and from the second reading on one file is opened for all of them."""
    with ExitStack() as stack:
        many = []
        for _ in range(MANY):
            # One does nothing but sit there.
            one = stack.enter_context(worker(program=("cat",)))
            many.append(replace(contain(where, one.pid), interfaces=("eth0",)))
        opened.begin()
        first = usage.read(many, time.time, {})
        opened.end()
        assert len(first) == MANY
        assert opened.listed == []
        # /proc/PID/cgroup, the files of each, and one for all interfaces.
        assert len(opened.paths) <= MANY * OPENS + 1
        opened.begin()
        second = usage.read(many, time.time, {})
        opened.end()
        assert (second.keys(), opened.listed) == (first.keys(), [])
        assert opened.paths == ["/proc/net/dev"]
        kept = len(open_files())
        assert MANY <= kept <= MANY * (OPENS - 1)
        usage.keep([one.id for one in many[:10]])
        assert len(open_files()) == kept // MANY * 10


def test_no_more_files_are_kept_than_there_is_room_for(where: str, opened: Opened) -> None:
    usage = Usage(room=Room(free=5))
    with worker(program=("cat",)) as a, worker(program=("cat",)) as b:
        both = [contain(where, one.pid) for one in (a, b)]
        for _ in range(3):
            assert len(usage.read(both, time.time, {})) == 2
            assert len(open_files()) == 5
        usage.keep([both[1].id])
        assert open_files() == {}
        # What the one gave back, the other takes.
        assert len(usage.read(both[1:], time.time, {})) == 1
        assert len(open_files()) == 5
        usage.keep(())


def test_one_that_has_ended_is_left_out_and_let_go(usage: Usage, where: str) -> None:
    with worker(program=("cat",)) as a, worker(program=("cat",)) as b:
        both = [contain(where, one.pid) for one in (a, b)]
        assert len(usage.read(both, time.time, {})) == 2
        a.end()
        # Its numbers stay as long as its cgroup does.
        assert reading(usage, both[0]).pids == 0
        emptied(where, both[0].id)
        assert usage.read(both, time.time, {}).keys() == {both[1].id}
        assert [path for path in open_files().values() if both[0].id in path] == []
        # Nor does another process with that number stand for it.
        assert usage.read([replace(both[0], pid=os.getpid())], time.time, {}) == {}
        assert usage.read([replace(both[0], pid=2**22 - 1)], time.time, {}) == {}


def test_files_that_are_open_hold_no_cgroup(usage: Usage, where: str) -> None:
    with worker(program=("cat",)) as one:
        container = contain(where, one.pid)
        reading(usage, container)
    emptied(where, container.id)
    until(lambda: not any((root / where / container.id).exists() for root in HIERARCHIES))


def test_another_run_is_looked_for_anew(usage: Usage, where: str) -> None:
    with worker() as one:
        container = contain(where, one.pid)
        one.work(0.1)
        assert reading(usage, container).cpu.seconds >= 0.1
    emptied(where, container.id)
    with worker(program=("cat",)) as one:
        again = contain(where, one.pid, id=container.id)
        assert reading(usage, again).cpu.seconds < 0.1
