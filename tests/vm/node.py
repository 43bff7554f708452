"""The node under check, by the ways that its operator and its scheduler have."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.lab.image import busybox_archive
from longshore.bus.client import ComputeClient
from longshore.config import load

IMAGE = "busybox:check"
UNIT = "longshore-agent.service"
SLICE = Path("/sys/fs/cgroup/longshore.slice")
#: Gone with the next boot, as an experiment with an operator's unit has to be.
_DROP_IN = Path(f"/run/systemd/system/{UNIT}.d/check.conf")
#: Seconds. Generous, because a node may be an emulated machine; nothing here asserts a time.
DEADLINE = 600.0


class CommandError(Exception):
    """A command that should have succeeded; its words are the message."""


def sh(*words: str | Path, code: int = 0) -> str:
    """Runs a command and returns its output; CommandError if it does not end with `code`."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE, check=False)
    if done.returncode != code:
        told = " ".join((done.stderr or done.stdout).split())
        raise CommandError(f"{' '.join(map(str, words))}: exit code {done.returncode}: {told}")
    return (done.stdout if code == 0 else done.stderr).strip()


def longshore(*words: str | Path, code: int = 0) -> str:
    return sh("longshore", "--timeout", str(DEADLINE), *words, code=code)


def show(ref: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(longshore("inspect", ref))
    return found


def status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(longshore("status", "-o", "json"))
    return found


def containers() -> list[str]:
    return longshore("ps", "-aq", "--no-trunc").split()


def start(name: str, *options: str | Path, command: str = "", image: str = IMAGE) -> dict[str, Any]:
    """A running container; without a command IMAGE serves a page on port 80."""
    words = ("sh", "-c", command) if command else ()
    longshore("run", "-d", "--name", name, *options, image, *words)
    return show(name)


@contextmanager
def running(
    name: str, *options: str | Path, command: str = "", image: str = IMAGE
) -> Iterator[dict[str, Any]]:
    """Deleted at the end, whatever happens."""
    try:
        yield start(name, *options, command=command, image=image)
    finally:
        subprocess.run(["longshore", "rm", "-f", name], capture_output=True, check=False)


@contextmanager
def bus() -> Iterator[tuple[ComputeClient, str]]:
    """A scheduler's client to this node's broker, and this node's name."""
    config = load([])
    with ComputeClient(conf=config.raw, timeout=DEADLINE) as nodes:
        yield nodes, config.node_name


def load_image() -> None:
    archive = busybox_archive(Path("/var/tmp/longshore-check.tar"), IMAGE)
    try:
        longshore("image", "load", archive)
    finally:
        archive.unlink()


def remove_all() -> None:
    left = containers()
    if left:
        longshore("rm", "-f", *left)


def unit(*properties: str, of: str = UNIT) -> dict[str, str]:
    lines = sh("systemctl", "show", of, *(f"-p{one}" for one in properties)).splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def journal(*options: str) -> list[str]:
    """What the agent's present run has written, in its own words."""
    invocation = unit("InvocationID")["InvocationID"]
    words = ("journalctl", f"_SYSTEMD_INVOCATION_ID={invocation}", "--no-pager", *options)
    return sh(*words).splitlines()


@contextmanager
def agent_with(environment: Mapping[str, str]) -> Iterator[None]:
    """The agent's unit with other options; the caller restarts it, and finds it restored after."""
    _DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'Environment="{name}={value}"' for name, value in environment.items()]
    _DROP_IN.write_text("\n".join(["[Service]", *lines, ""]))
    sh("systemctl", "daemon-reload")
    try:
        yield
    finally:
        _DROP_IN.unlink()
        _DROP_IN.parent.rmdir()
        sh("systemctl", "daemon-reload")
        sh("systemctl", "restart", UNIT)
        settle()


def settle() -> None:
    """Waits until the agent serves, and containerd and the broker are up for it."""
    until(lambda: unit("ActiveState")["ActiveState"] == "active", "the agent is active")
    until(lambda: all(one["state"] == "up" for one in status()["neighbours"]), "neighbours are up")


def until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            if true():
                return
        except (CommandError, OSError):
            pass  # the agent restarts, or the port is not open yet
        time.sleep(0.2)
    raise CommandError(f"waited {DEADLINE:g} s in vain until {what}")


def left() -> list[str]:
    """Everything on the host that belongs to a container; nothing, when there are none."""
    nft = sh("nft", "--json", "list", "ruleset")
    elements = [
        f"nft {one[kind]['name']}: {one[kind]['elem']}"
        for one in json.loads(nft)["nftables"]
        for kind in ("set", "map")
        if kind in one and one[kind].get("table") == "longshore" and one[kind].get("elem")
    ]
    held = [
        f"{what}: {line}"
        for what, column in (("container", 0), ("task", 0), ("lease", 0), ("snapshot", -1))
        for line in sh("ctr", "-n", "longshore", f"{what}s", "ls").splitlines()[1:]
        if what != "snapshot" or line.split()[column] != "Committed"
    ]
    return [
        *elements,
        *held,
        *(str(path) for path in SLICE.glob("*.scope")),
        *(str(path) for path in Path("/sys/class/net").glob("lsh*")),
        *(str(path) for path in Path("/run/longshore/netns").iterdir()),
        *(str(path) for path in Path("/run/longshore/volumes").iterdir()),
        *(str(path) for path in Path("/var/lib/longshore/containers").iterdir()),
        *(line for line in Path("/proc/self/mounts").read_text().splitlines()
          if "/run/longshore/" in line or ("/longshore/" in line and "runtime.v2.task" in line)),
    ]  # fmt: skip
