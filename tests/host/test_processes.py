"""Processes of containers, in their own numbering: real ones, in a pid namespace of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from host.statskit import until
from longshore.host.processes import Processes
from longshore.model.names import Names

NAMES = Names(str(uuid4()))
#: The first process, a child that another user runs, and one that has ended and is not waited for.
PROGRAM = """
import os, sys, time
if os.fork() == 0:
    os.setuid(1234)
    os.execvp("sleep", ["sleep", "600"])
if os.fork() == 0:
    os._exit(0)
time.sleep(600)
"""


def children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(one) for one in text.split()}


@contextmanager
def in_a_namespace() -> Iterator[int]:
    """Pid of its first process."""
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command) as process:
        try:
            until(lambda: len(children(process.pid)) == 1)
            (first,) = children(process.pid)
            until(lambda: len(children(first)) == 2)
            until(lambda: "sleep" in {_name(one) for one in children(first)})
            yield first
        finally:
            process.kill()


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_in_its_own_numbering() -> None:
    with in_a_namespace() as first:
        members = {first, *children(first)}
        processes = Processes(lambda names: members)
        # On a machine that is at work it is not asleep at once.
        until(lambda: processes.processes(NAMES, first)[1].state == "S")
        one, two, three = processes.processes(NAMES, first)
        assert (one.pid, one.parent, one.host_pid, one.user) == (1, 0, first, "0")
        assert one.command.startswith(f"{sys.executable} -c")
        assert one.rss > 2**20
        assert time.time() - 60 < one.started_at <= time.time() + 2
        assert (two.pid, two.parent, two.user, two.command) == (2, 1, "1234", "sleep 600")
        # As ps shows what has no command any more.
        assert (three.pid, three.state, three.rss) == (3, "Z", 0)
        assert three.command.startswith("[")


def test_one_in_a_namespace_further_in() -> None:
    """Its number is the container's, not the one that it sees itself."""
    outer = "import subprocess, sys; subprocess.run(['unshare', '--pid', '--fork', 'sleep', '600'])"
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", outer]
    with subprocess.Popen(command) as process:
        try:

            def line() -> list[int]:
                found = [process.pid]
                while below := children(found[-1]):
                    found.append(below.pop())
                return found[1:]

            until(lambda: len(line()) == 3)
            first, *_, last = line()
            until(lambda: _name(last) == "sleep")
            found = Processes(lambda names: set(line())).processes(NAMES, first)
        finally:
            process.kill()
    assert [one.pid for one in found] == [1, 2, 3]
    assert [one.parent for one in found] == [0, 1, 2]


def test_one_that_ends_meanwhile_is_left_out() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    found = Processes(lambda names: {ended.pid, os.getpid()}).processes(NAMES, os.getpid())
    assert [one.host_pid for one in found] == [os.getpid()]
    assert Processes(lambda names: set()).processes(NAMES, 1) == []


@pytest.mark.parametrize("name", ["a) R 1 1", "(", "x\\ny"])
def test_a_name_made_to_mislead(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "9"
    folder.mkdir()
    (folder / "status").write_text(f"Name:\t{name}\nUid:\t5\t6\t7\t8\nNSpid:\t9\t4\n")
    fields = ["S", "1", *["0"] * 9, "150", "50", *["0"] * 6, "100", "0", "3", "0"]
    (folder / "stat").write_text(f"9 ({name}) {' '.join(fields)}\n")
    (folder / "cmdline").write_bytes(b"a\0" + b"b" * 5000 + b"\0")
    (one,) = Processes(lambda names: {9}, tmp_path).processes(NAMES, 9)
    assert (one.pid, one.parent, one.user, one.state) == (4, 0, "6", "S")
    assert one.cpu_seconds == 200 / os.sysconf("SC_CLK_TCK")
    assert one.rss == 3 * os.sysconf("SC_PAGE_SIZE")
    assert len(one.command) == 1024
