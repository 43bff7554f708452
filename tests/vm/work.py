"""A container's life over the bus and the local socket: ports, volumes, logs, exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

from longshore.model.linux import DEFAULT_CAPABILITIES
from vm.node import (
    IMAGE,
    bus,
    containers,
    left,
    longshore,
    remove_all,
    running,
    sh,
    show,
    start,
    until,
)

PAGE = "Longshore: hello from a container"
_VOLUME = Path("/srv/longshore-check")
_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 53))
while True:
    word, caller = s.recvfrom(100)
    s.sendto(word, caller)
"""
_ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(b"word", (sys.argv[1], 5300))
assert s.recv(100) == b"word"
"""


def addresses() -> list[str]:
    """The node's own ones that are not the bridge's."""
    listed = json.loads(sh("ip", "-j", "-4", "address", "show", "scope", "global"))
    return [
        address["local"]
        for link in listed
        if link["ifname"] != "longshore0"
        for address in link["addr_info"]
    ]


def fetch(address: str, port: int) -> str:
    return sh("busybox", "wget", "-T", "10", "-qO-", f"http://{address}:{port}/")


def over_the_bus() -> str:
    spec = {"id": str(uuid.uuid4()), "name": "check-bus", "image": IMAGE}
    with bus() as (nodes, node):
        made = nodes.create(node, spec, start=False)
        assert made.state == "created", made
        assert nodes.start(node, made.id).state == "running"
        assert [one.id for one in nodes.list(node)] == containers() == [made.id]
        stopped = nodes.stop(node, made.id, grace=0)
        assert (stopped.state, stopped.exit_code) == ("stopped", 137), stopped
        again = nodes.start(node, made.id)
        assert again.nics == made.nics, "the address stays"
        assert nodes.delete(node, made.id, force=True).state == "absent"
        assert nodes.list(node) == []
        return str(nodes.node_status(node).name)


def over_the_socket() -> str:
    longshore("create", "--name", "check-local", IMAGE)
    longshore("start", "check-local")
    longshore("stop", "-t", "0", "check-local")
    assert show("check-local")["reason"] == "it was stopped, as wanted, with exit code 137"
    longshore("start", "check-local")
    refused = longshore("rm", "check-local", code=5)
    longshore("rm", "-f", "check-local")
    return refused.splitlines()[0]


def exit_codes_and_logs() -> str:
    script = "echo out; echo err >&2; exit 7"
    longshore("run", "--name", "check-exit", IMAGE, "sh", "-c", script, code=7)
    found = show("check-exit")
    assert (found["state"], found["exit_code"]) == ("stopped", 7), found
    assert longshore("logs", "check-exit") == "out", "stderr goes to stderr"
    missing = longshore("run", "--name", "check-none", IMAGE, "/no/such", code=127)
    longshore("rm", "check-exit", "check-none")
    return missing.splitlines()[0]


def tcp() -> str:
    with running("check-tcp", "-p", "8080:80") as server:
        places = ["127.0.0.1", *addresses(), "10.89.0.1"]
        for place in places:
            assert fetch(place, 8080) == PAGE, place
        wget = f"wget -T 10 -qO- http://{places[1]}:8080/"
        assert longshore("run", "--rm", IMAGE, "sh", "-c", wget) == PAGE, "from another container"
        itself = sh("nsenter", f"--target={server['pid']}", "--net", "busybox", *wget.split())
        assert itself == PAGE, "from itself"
    return ", ".join(places)


def udp() -> str:
    places = ["127.0.0.1", *addresses()]
    with running("check-udp", "-p", "5300:53/udp") as server:
        inside = ("nsenter", f"--target={server['pid']}", "--net", sys.executable, "-c")
        echo = subprocess.Popen([*inside, _ECHO])
        try:
            until(lambda: not sh(sys.executable, "-c", _ASK, places[0]), "the server answers")
            for place in places:
                sh(sys.executable, "-c", _ASK, place)
        finally:
            echo.kill()
            echo.wait()
    return ", ".join(places)


def volumes() -> str:
    _VOLUME.mkdir(parents=True, exist_ok=True)
    try:
        (_VOLUME / "file").write_text("of the node\n")
        binds = ("-v", f"{_VOLUME}:/rw", "-v", f"{_VOLUME}:/ro:ro")
        script = "cat /ro/file; touch /ro/x 2>/dev/null || echo read-only; echo inside > /rw/made"
        words = longshore("run", "--rm", *binds, IMAGE, "sh", "-c", script).splitlines()
        assert words == ["of the node", "read-only"], words
        assert (_VOLUME / "made").read_text() == "inside\n"
        return longshore("run", "--rm", "-v", "/etc:/x", IMAGE, "true", code=125).splitlines()[0]
    finally:
        shutil.rmtree(_VOLUME)


def confinement() -> str:
    """The unit takes capabilities from the agent, and none of Docker's default ones from these."""
    with running("check-caps") as found:
        lines = Path(f"/proc/{found['pid']}/status").read_text().splitlines()
        told = dict(line.split(":\t") for line in lines if ":\t" in line)
        count = int(told["CapBnd"], 16).bit_count()
        assert count == len(DEFAULT_CAPABILITIES), told["CapBnd"]
        assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2"), told
        score = Path(f"/proc/{found['pid']}/oom_score_adj").read_text().strip()
        assert int(score) >= 0, f"spared when memory runs out: {score}"
    assert "uid=1000" in longshore("run", "--rm", "-u", "app", IMAGE, "id")
    return f"{count} capabilities, oom_score_adj {score}"


def nothing_left() -> str:
    start("check-left", "-p", "8081:80", "-v", "/srv:/s", "--memory", "32m")
    there = len(left())
    assert there >= 8, left()
    remove_all()
    until(lambda: not [one for one in left() if "/sys/class/net/" in one], "interfaces are gone")
    assert left() == []
    return f"{there} objects made, all gone"


CHECKS = (
    ("verbs over the bus", over_the_bus),
    ("verbs over the socket", over_the_socket),
    ("exit codes and logs", exit_codes_and_logs),
    ("published TCP port", tcp),
    ("published UDP port", udp),
    ("volumes", volumes),
    ("confinement", confinement),
    ("nothing is left after delete", nothing_left),
)
