"""Operating containers under systemd and cgroup v2, with the unit's bounds on system calls and
capabilities, over both doors: signals, pause and restart; terminals; health; logs; what is used;
files; updates."""

from __future__ import annotations

import io
import re
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cli.terminal import Terminal, on_a_terminal
from fakes.shell import Shell
from longshore.bus.client import ComputeClient
from longshore.config import load
from longshore.errors import UpdateTakenBack
from vm.node import (
    DEADLINE,
    IMAGE,
    SLICE,
    UNIT,
    CommandError,
    agent_with,
    bus,
    longshore,
    running,
    settle,
    sh,
    until,
)

_MIB = 2**20
RESTART = ("systemctl", "restart", UNIT)
CRASH = ("systemctl", "kill", "-s", "KILL", UNIT)
#: Tells what it hears, and goes on.
_HEARS = "trap 'echo heard' HUP; echo ready; while :; do sleep 1; done"
#: Seldom enough for an emulated machine, on which a command takes seconds.
_OFTEN = ("--health-interval", "10s", "--health-retries", "2", "--health-timeout", "60s")
_FLOOD = range(1_000_000, 1_600_001)
_LOG_MAX = _MIB
#: What is kept of a log begins at a multiple of it, in each of its files.
_BLOCK = 65536


@contextmanager
def sitting(*words: str) -> Iterator[Terminal]:
    """`longshore WORDS` on a terminal; one that hangs is killed, and then its output ends."""
    with on_a_terminal(Shell(Path(load([]).local.socket)), *words) as screen:
        given_up = threading.Timer(DEADLINE, screen.process.kill)
        given_up.start()
        try:
            yield screen
        except EOFError as error:
            raise CommandError(f"longshore {' '.join(words)} has ended: {error}") from error
        finally:
            given_up.cancel()


def settled_after(command: Sequence[str]) -> None:
    sh(*command)
    settle()


def _log(nodes: ComputeClient, node: str, ref: str) -> list[str]:
    return [line.text for line in nodes.logs(node, ref, tail=1000).lines]


def _scope(id: str, file: str) -> str:
    return (SLICE / f"longshore-{id}.scope" / file).read_text()


def own_cgroup(pid: int | None) -> Path:
    """Below the scope, where crun makes another one there."""
    own = Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition(":")[2]
    return Path("/sys/fs/cgroup", own.lstrip("/"))


def is_frozen(pid: int | None) -> bool:
    return "frozen 1" in (own_cgroup(pid) / "cgroup.events").read_text()


def verbs() -> str:
    """Signals, pause, rename, restart, wait: what one door does, the other one says."""
    with bus() as (nodes, node), running("check-hears", command=_HEARS) as made:
        id = made["id"]
        until(lambda: _log(nodes, node, id) == ["ready"], "it is ready")
        nodes.kill(node, id, signal="HUP")
        until(lambda: _log(nodes, node, id) == ["ready", "heard"], "it has heard")
        longshore("pause", "check-hears")
        assert is_frozen(made["pid"])
        (used,) = nodes.stats(node, [id])
        assert used.pids >= 1
        assert nodes.unpause(node, id).state == "running"
        assert not is_frozen(made["pid"])
        longshore("rename", "check-hears", "check-renamed")
        again = nodes.restart(node, "check-renamed", grace=0)
        assert (again.state, again.pid != made["pid"]) == ("running", True), again
        assert [nic.address for nic in again.nics] == [nic["address"] for nic in made["nics"]]
        longshore("kill", "check-renamed")
        assert longshore("wait", "check-renamed") == "137"
        assert nodes.wait(node, id).state == "stopped"
        told = longshore("explain", "check-renamed")
        nodes.rename(node, id, "check-hears")
    return f"its story has {len(told.splitlines())} lines"


def policies() -> str:
    """What ends is started again, with pauses that grow, as often as its policy says."""
    with (
        bus() as (nodes, node),
        running("check-few", "--restart", "on-failure:2", command="exit 4"),
        running("check-done", "--restart", "on-failure", command="sleep 1"),
    ):
        for name, code, times in (("check-few", 4, 2), ("check-done", 0, 0)):
            until(partial(_is_in, nodes, node, name, "stopped"), f"{name} is stopped")
            ended = nodes.show(node, name)
            assert (ended.exit_code, ended.restarts) == (code, times), ended
        told = nodes.explain(node, "check-few").entries
        waits = [one.what for one in told if "on-failure starts it again in" in one.what]
        assert len(waits) == 2, told
    return "; ".join(waits)


def command_on_a_terminal() -> str:
    """Its size, keys that are signals, and its exit code."""
    with bus() as (nodes, node), running("check-sh", command="exec sleep 1000"):
        with sitting("exec", "-it", "check-sh", "sh") as screen:
            screen.until("/ # ")
            screen.type("stty size\r")
            screen.until("40 80\n")
            screen.type("sh -c 'echo $((20 + 3)) asleep; exec sleep 2000'\r")
            screen.until("23 asleep\n")
            screen.type("\x03")
            screen.type("echo code $?\r")
            screen.until("code 130\n")
            screen.type("exit 9\r")
            assert screen.end() == 9, screen.shown

        assert nodes.execute(node, "check-sh", ["sh", "-c", "exit 7"]).exit_code == 7
    return f"{len(screen.shown)} characters shown"


def terminal_of_its_own() -> str:
    """It is left by its keys, and its log goes on behind what is there when it is started again."""
    try:
        longshore("run", "-dit", "--name", "check-tty", "--stop-timeout", "0", IMAGE, "sh")
        with bus() as (nodes, node):
            pid = nodes.show(node, "check-tty").pid
            with sitting("attach", "check-tty") as screen:
                screen.type("echo $((42 + 500))\r")
                screen.until("542\n")
                screen.type("\x10\x11")
                assert screen.end() == 0, screen.shown
            assert nodes.show(node, "check-tty").pid == pid
            nodes.restart(node, "check-tty")
            with sitting("attach", "check-tty") as screen:
                screen.type("echo $((43 + 500)); exit 6\r")
                screen.until("543\n")
                assert screen.end() == 6, screen.shown
            whole = "\n".join(_log(nodes, node, "check-tty"))
            assert re.findall(r"(?m)^54\d", whole) == ["542", "543"], whole
    finally:
        longshore("rm", "-f", "check-tty")
    return f"{len(whole)} characters of log"


def _is_in(nodes: ComputeClient, node: str, ref: str, state: str) -> bool:
    return nodes.show(node, ref).state == state


def is_healthy(nodes: ComputeClient, node: str, name: str, since: float = 0.0) -> bool:
    found = nodes.show(node, f"check-{name}").health
    return found is not None and found.state == "healthy" and (found.at or 0.0) > since


def health() -> str:
    """Each kind of probe, and what follows once it fails."""
    probes = {"restart": ("--health-http", "80"), "stop": ("--health-tcp", "80"),
              "kill": ("--health-cmd", "test ! -e /tmp/bad")}  # fmt: skip
    more = {"kill": ("--restart", "always", "--tmpfs", "/tmp"), "restart": ("--health-budget", "1")}
    serve = "httpd -p 80 -h /www; exec sleep 1000"
    with bus() as (nodes, node):
        try:
            for act, probe in probes.items():
                words = (*probe, *_OFTEN, *more.get(act, ()), "--on-unhealthy", act)
                longshore("run", "-d", "--name", f"check-{act}", "--stop-timeout", "0", *words,
                          IMAGE, "sh", "-c", serve)  # fmt: skip
            for act in probes:
                until(partial(is_healthy, nodes, node, act), f"check-{act} is healthy")
            before = {act: nodes.show(node, f"check-{act}") for act in probes}
            inside = {act: Path(f"/proc/{one.pid}/root") for act, one in before.items()}
            (inside["restart"] / "www/index.html").unlink()
            (inside["kill"] / "tmp/bad").touch()
            nodes.execute(node, "check-stop", ["killall", "httpd"])
            until(partial(_is_in, nodes, node, "check-stop", "stopped"), "it is stopped")
            reason = nodes.show(node, "check-stop").reason
            assert "on_unhealthy is stop" in reason, reason
            until(lambda: nodes.show(node, "check-kill").restarts == 1, "it is started again")
            until(partial(is_healthy, nodes, node, "kill"), "it is healthy again")
            assert nodes.show(node, "check-kill").pid != before["kill"].pid
            until(lambda: "it is left so" in nodes.show(node, "check-restart").reason, "it is left")
            left = nodes.show(node, "check-restart")
            assert (left.state, left.pid != before["restart"].pid) == ("running", True), left
            assert left.health is not None
            assert left.health.output.startswith("404"), left.health
        finally:
            longshore("rm", "-f", *(f"check-{act}" for act in probes))
    return left.reason


def logs() -> str:
    """A flood is kept short by a hole in the file, whole to the line, and found by its time."""
    flood = f"seq {_FLOOD[0]} {_FLOOD[-1]}; trap 'echo later' HUP; while :; do sleep 1; done"
    with agent_with({"OS_LOGS__MAX_SIZE": str(_LOG_MAX)}):
        settled_after(RESTART)
        with bus() as (nodes, node), running("check-flood", command=flood) as one:
            folder = Path("/var/lib/longshore/containers") / one["id"]
            log = folder / "stdout.log"

            def held() -> int:
                return sum(file.stat().st_blocks * 512 for file in folder.glob("*std*"))

            until(lambda: log.read_bytes()[-8:] == b"%d\n" % _FLOOD[-1], "all is written")
            until(lambda: held() <= _LOG_MAX + 4 * _BLOCK, "it is kept short")
            assert log.stat().st_size == 8 * len(_FLOOD), "it was not emptied"
            kept = list(map(int, longshore("logs", "check-flood").split()))
            assert kept == list(range(_FLOOD[-1] + 1 - len(kept), _FLOOD[-1] + 1))
            assert _LOG_MAX // 2 <= 8 * len(kept) <= _LOG_MAX, len(kept)
            began = time.time()
            nodes.kill(node, one["id"], signal="HUP")
            until(lambda: _log(nodes, node, one["id"])[-1] == "later", "it goes on")
            assert longshore("logs", "--since", str(began), "check-flood") == "later"
            tail = nodes.logs(node, one["id"], tail=2).lines
            assert [line.text for line in tail] == [str(_FLOOD[-1]), "later"]
            assert all(line.at is not None for line in tail), tail
    return f"{len(kept)} of {len(_FLOOD)} lines kept, {held()} bytes of disk"


def usage() -> str:
    """Every field that v1 fills, from the files of v2; and pressure, which v1 has not."""
    work = "dd if=/dev/zero of=/x bs=1M count=8 conv=fsync 2>/dev/null; rm /x; while :; do :; done"
    limits = ("--memory", "64m", "--cpus", "0.2", "--pids-limit", "20")
    with bus() as (nodes, node), running("check-busy", *limits, command=work) as made:

        def read() -> dict[str, Any]:
            (one,) = nodes.stats(node, ["check-busy"])
            return one.model_dump()

        until(lambda: read()["cpu"]["throttled"] > 2 and read()["block"], "it is held up")
        time.sleep(1)  # longer than a reading is shared
        has = read()
        empty = [f"{part}.{name}" for part in ("cpu", "memory") for name, value in has[part].items()
                 if not value and name not in ("swap", "at_limit", "killed")]  # fmt: skip
        assert not empty, f"nothing in {empty}"
        memory = has["memory"]
        assert memory["working_set"] <= memory["usage"] <= memory["peak"] <= 64 * _MIB, memory
        assert memory["peak"] == int(_scope(made["id"], "memory.peak")), memory
        assert (memory["limit"], has["pids"], has["pids_limit"]) == (64 * _MIB, 1, 20), has
        assert has["block"][0]["device"].startswith("/dev/"), has["block"]
        assert has["block"][0]["write_bytes"] >= 8 * _MIB, has["block"]
        assert [nic["interface"] for nic in has["network"]] == ["eth0"]
        assert [one["resource"] for one in has["pressure"]] == ["cpu", "memory", "io"]
        assert {len(one[what]) for one in has["pressure"] for what in ("some", "full")} == {3}
        assert "check-busy" in longshore("stats", "--no-stream", "check-busy")
        (first,) = nodes.top(node, "check-busy")
        assert (first.pid, first.host_pid, first.user) == (1, made["pid"], "root"), first
        assert str(made["pid"]) in longshore("top", "check-busy")
    return f"throttled {has['cpu']['throttled']} times, peak {memory['peak']}"


def files() -> str:
    """In and out, of one that runs and one that does not, as its user and in a user namespace."""
    text = io.BytesIO(b"by the bus\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("far")
        member.size = len(text.getvalue())
        tar.addfile(member, text)
    owners = {}
    with bus() as (nodes, node), TemporaryDirectory(dir="/var/tmp") as made:
        source, back = Path(made, "near"), Path(made, "back")
        source.write_text("by the socket\n")
        for name, options in {"plain": (), "mapped": ("--userns", "private")}.items():
            ref = f"check-{name}"
            words = ("-u", "app", "--tmpfs", "/t:mode=1777", "--stop-timeout", "0", *options)
            with running(ref, *words, command="exec sleep 1000") as one:
                longshore("cp", source, f"{ref}:/tmp/near")
                longshore("cp", source, f"{ref}:/t/near")
                assert nodes.copy_in(node, ref, "/home/app", packed.getvalue()) == 1
                look = "cat /tmp/near /t/near /home/app/far; stat -c %u /tmp/near /home/app/far"
                seen = nodes.execute(node, ref, ["sh", "-c", look])
                assert seen.stdout.split("\n") == [
                    *("by the socket", "by the socket", "by the bus", "1000", "1000", "")
                ], seen
                longshore("cp", f"{ref}:/t/near", back)
                assert back.read_text() == source.read_text()
                status, tar_out = nodes.copy_out(node, ref, "/home/app/far")
                assert (status.size, b"by the bus" in tar_out) == (11, True), status
                listed = {(one.kind, one.path) for one in nodes.diff(node, ref)}
                assert {("added", "/tmp/near"), ("added", "/home/app/far")} <= listed, listed
                assert "A /home/app/far" in longshore("diff", ref).splitlines()
                nodes.stop(node, ref)
                longshore("cp", source, f"{ref}:/www/late")
                longshore("cp", f"{ref}:/home/app/far", back)
                assert back.read_text() == "by the bus\n"
                owners[name] = (one["ids"] or {}).get("first", 0)
                assert nodes.start(node, ref).state == "running"
                assert nodes.execute(node, ref, ["cat", "/www/late"]).stdout == "by the socket\n"
    return f"users from {owners}"


def updates() -> str:
    """A limit as it runs, another command, and one that cannot start and is taken back."""
    with bus() as (nodes, node), running("check-new", "--memory", "64m", command=_HEARS) as made:
        live = nodes.update(node, made["id"], {"limits": {"memory": 96 * _MIB}})
        assert (live.pid, live.version) == (made["pid"], 2), live
        levels = (own_cgroup(live.pid), SLICE / f"longshore-{made['id']}.scope")
        limits = {(one / "memory.max").read_text().strip() for one in levels}
        assert str(96 * _MIB) in limits, limits
        longshore("update", "--patch", '{"command": ["sleep", "1000"]}', "check-new")
        other = nodes.show(node, made["id"])
        assert (other.version, other.command) == (3, ("sleep", "1000")), other
        assert other.pid != made["pid"]
        try:
            nodes.update(node, made["id"], {"command": ["/no/such"]})
        except UpdateTakenBack as error:
            told = str(error)
        else:
            raise AssertionError("what cannot start is in use")
        back = nodes.show(node, made["id"])
        assert (back.state, back.command, back.nics) == ("running", other.command, other.nics), back
        states = [one.state for one in nodes.versions(node, made["id"])]
        assert states.count("taken back") == 1, states
        assert len(longshore("versions", "check-new").splitlines()) > len(states)
    return told


CHECKS = (
    ("operating: verbs", verbs),
    ("operating: restart policies", policies),
    ("operating: a command on a terminal", command_on_a_terminal),
    ("operating: a terminal of its own", terminal_of_its_own),
    ("operating: health", health),
    ("operating: logs", logs),
    ("operating: what is used", usage),
    ("operating: files", files),
    ("operating: updates", updates),
)
