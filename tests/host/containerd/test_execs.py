"""Commands in a running container, on a real containerd, with crun and with runc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.containerd.stepwise import Node, until
from longshore.errors import CommandNotFound, Conflict, InvalidRequest, NotFound, StartFailed
from longshore.host.containerd.client import Client
from longshore.host.containerd.exec_calls import ExecCalls
from longshore.host.containerd.execs import Execs, ExecSession
from longshore.model.execs import Command
from longshore.model.names import Names
from longshore.model.status import ExecStatus


@pytest.fixture
def execs(client: Client, node: Node) -> Execs:
    return Execs(client, node.layout, node.rootfs, node.oci.capabilities)


@pytest.fixture
def names(node: Node) -> Iterator[Names]:
    spec = node.run(command=["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"], env={"A": "own"})
    yield Names(spec.id)
    node.remove(spec)
    assert list(node.layout.stdio.glob("*")) == []


def run(execs: Execs, names: Names, *words: str, **more: object) -> ExecStatus:
    timeout, most = float(str(more.pop("timeout", 20))), int(str(more.pop("most", 65536)))
    return execs.run(names, Command(words, **more), timeout=timeout, output_max=most)  # type: ignore[arg-type]


def fifos(node: Node) -> list[Path]:
    return list(node.layout.stdio.glob("*/*"))


def output_of(session: ExecSession, enough: str | None = None) -> str:
    """All that it writes, or until it has written that."""
    text = ""
    end = time.monotonic() + 20
    while session.exit_code is None and (enough is None or enough not in text):
        assert time.monotonic() < end, text
        output = session.read(1)
        text += output.data.decode() if output else ""
    return text


def test_what_comes_of_a_command(node: Node, execs: Execs, names: Names) -> None:
    came = run(execs, names, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (came.exit_code, came.stdout, came.stderr) == (3, "out\n", "err\n")
    assert not came.truncated
    assert not came.timed_out
    assert fifos(node) == []


def test_environment_folder_and_user(execs: Execs, names: Names) -> None:
    script = "echo $A $B $HOME; pwd; id -u"
    own = run(execs, names, "sh", "-c", script)
    assert own.stdout == "own /root\n/\n0\n"
    asked = run(
        *(execs, names, "sh", "-c", script),
        env={"B": "b", "A": "a"}, workdir="/tmp", user="1000",
    )  # fmt: skip
    assert asked.stdout == "a b /home/app\n/tmp\n1000\n"


def test_what_it_may_is_what_the_container_may(execs: Execs, names: Names) -> None:
    script = "grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status"
    first = run(execs, names, "sh", "-c", script.replace("self", "1")).stdout
    assert first
    assert run(execs, names, "sh", "-c", script).stdout == first
    more = run(execs, names, "sh", "-c", script, privileged=True).stdout
    assert int(more.split("CapBnd:")[1].split()[0], 16) > int(
        first.split("CapBnd:")[1].split()[0], 16
    )
    assert more.split("NoNewPrivs:")[1].split()[0] == "0"


def test_more_than_is_kept_is_read_and_thrown_away(execs: Execs, names: Names) -> None:
    came = run(execs, names, "sh", "-c", "yes | head -c 3000000; echo end >&2", most=1000)
    assert (came.exit_code, came.stdout, came.stderr) == (0, "y\n" * 500, "end\n")
    assert came.truncated


def test_bytes_that_are_no_text(execs: Execs, names: Names) -> None:
    assert run(execs, names, "printf", "a\\377b").stdout == "a\\xffb"
    cut = run(execs, names, "printf", "\\303\\244\\303\\244", most=3)
    assert (cut.stdout, cut.truncated) == ("ä", True)


def test_time_is_up(node: Node, execs: Execs, names: Names) -> None:
    came = run(execs, names, "sh", "-c", "echo begun; exec sleep 1000", timeout=1)
    assert (came.exit_code, came.stdout, came.timed_out) == (137, "begun\n", True)
    assert fifos(node) == []


@pytest.mark.parametrize(
    ("words", "more", "error"),
    [
        (("no-such-command",), {}, CommandNotFound),
        (("/no/such",), {}, CommandNotFound),
        (("/etc/passwd",), {}, StartFailed),
        (("true",), {"user": "nobody-knows"}, StartFailed),
        (("true",), {"workdir": "/etc/passwd"}, StartFailed),
    ],
)
def test_what_cannot_be_run(
    node: Node,
    execs: Execs,
    names: Names,
    words: tuple[str, ...],
    more: dict[str, str],
    error: type[StartFailed],
) -> None:
    with pytest.raises(StartFailed) as raised:
        run(execs, names, *words, **more)
    assert type(raised.value) is error
    assert fifos(node) == []


def test_a_container_that_does_not_run(execs: Execs) -> None:
    with pytest.raises(NotFound):
        run(execs, Names("00000000-0000-4000-8000-000000000000"), "true")


def test_input_and_its_end(execs: Execs, names: Names) -> None:
    session = execs.begin(names, Command(("cat",), stdin=True))
    session.write(b"one\n")
    assert output_of(session, "one\n") == "one\n"
    big = b"x" * 300_000
    session.signal("SIGCONT")
    session.write(big[:1000])
    session.end_input()
    assert output_of(session) == "x" * 1000
    assert session.exit_code == 0
    session.close()
    with pytest.raises(InvalidRequest):
        session.signal("SIGNONE")


def test_the_end_of_an_input_that_had_none(execs: Execs, names: Names) -> None:
    session = execs.begin(names, Command(("cat",), stdin=True))
    session.end_input()
    assert output_of(session) == ""
    assert session.exit_code == 0
    session.close()
    quiet = execs.begin(names, Command(("cat",)))
    with pytest.raises(Conflict):
        quiet.write(b"x")
    assert output_of(quiet) == ""
    quiet.close()


def test_a_terminal(node: Node, execs: Execs, names: Names) -> None:
    session = execs.begin(names, Command(("sh",), tty=True, stdin=True, rows=31, columns=97))
    session.write(b"stty size; tty; echo $TERM\n")
    text = output_of(session, "xterm\r\n")
    assert "31 97\r\n" in text
    assert "/dev/pts/" in text
    session.resize(12, 34)
    session.write(b"stty size\n")
    output_of(session, "12 34\r\n/ # ")
    session.write(b"sh -c 'echo $((1 + 1)) asleep; exec sleep 1000'\n")
    output_of(session, "2 asleep\r\n")
    session.write(b"\x03")
    session.write(b"echo code $?\n")
    output_of(session, "code 130\r\n/ # ")
    session.end_input()
    output_of(session)
    assert session.exit_code == 0
    session.close()
    assert fifos(node) == []


def test_who_leaves_ends_it(node: Node, execs: Execs, names: Names) -> None:
    """Also one whose output nobody read, and one that does not read its input."""
    session = execs.begin(names, Command(("sh", "-c", "yes; sleep 1000"), stdin=True))
    until(lambda: session.read(1) is not None)
    assert Path(f"/proc/{session.pid}").exists()
    session.close()
    session.close()
    assert not Path(f"/proc/{session.pid}").exists()
    assert fifos(node) == []
    assert session.read(1) is None


def test_a_process_that_it_leaves_behind(node: Node, execs: Execs, names: Names) -> None:
    came = run(execs, names, "sh", "-c", "sleep 1000 & echo done")
    assert (came.exit_code, came.stdout) == (0, "done\n")
    came = run(execs, names, "sh", "-c", "yes & echo done >&2")
    assert (came.exit_code, came.stderr) == (0, "done\n")
    assert fifos(node) == []


def test_time_is_up_for_all_of_its_group(node: Node, execs: Execs, names: Names) -> None:
    came = run(execs, names, "sh", "-c", "sleep 1234 & sleep 1234", timeout=1)
    assert came.timed_out
    until(lambda: "sleep 1234" not in run(execs, names, "ps").stdout)


def test_its_container_ends(node: Node, execs: Execs, names: Names) -> None:
    session = execs.begin(names, Command(("sleep", "1000"), stdin=True))
    node.tasks.kill(names, 15)
    output_of(session)
    assert session.exit_code == 137
    session.close()


def test_what_an_agent_that_died_left(
    client: Client, node: Node, execs: Execs, names: Names
) -> None:
    """One that runs and writes without end, one that was never started, one that had ended."""
    running = execs.begin(names, Command(("yes",), stdin=True, tty=True))
    ended = execs.begin(names, Command(("true",)))
    output_of(ended)
    begun = ExecCalls(client, names, "longshore-0123")
    folder = node.layout.exec(names, begun.id)
    folder.mkdir()
    assert len(fifos(node)) == 3
    next_life = Execs(client, node.layout, node.rootfs, node.oci.capabilities)
    next_life.clearing.start()
    until(lambda: fifos(node) == [])
    assert not Path(f"/proc/{running.pid}").exists()
    assert next_life.clearing.stop(5)
    for session in (running, ended):
        session.close()


def test_a_hundred_and_fifty_leave_nothing(node: Node, execs: Execs, names: Names) -> None:
    """In the shim: descriptors; here: descriptors and FIFOs."""
    shim = node.containerd.shims()[0].pid

    def held() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{shim}/fd")), len(os.listdir("/proc/self/fd"))

    def some(count: int) -> None:
        for number in range(count):
            if number % 10 == 0:
                session = execs.begin(names, Command(("cat",), tty=number % 20 == 0, stdin=True))
                session.close()
            elif number % 10 == 1:
                with pytest.raises(CommandNotFound):
                    run(execs, names, "no-such-command")
            else:
                assert run(execs, names, "true").exit_code == 0

    some(20)
    before = held()
    some(150)
    until(lambda: all(now <= old for now, old in zip(held(), before, strict=True)))
    assert fifos(node) == []
