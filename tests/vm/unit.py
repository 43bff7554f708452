"""The unit, its socket, and what it tells systemd and the journal."""

from __future__ import annotations

import grp
import os
import re
from itertools import pairwise
from pathlib import Path

from vm.node import journal, longshore, sh, status, unit, until


def active() -> str:
    found = unit("ActiveState", "SubState", "Type", "StatusText", "MainPID")
    assert (found["ActiveState"], found["SubState"]) == ("active", "running"), found
    assert found["Type"] == "notify"
    assert found["StatusText"].startswith("serving node "), found
    return found["StatusText"]


def watchdog() -> str:
    before = unit("WatchdogTimestampMonotonic", "WatchdogUSec")
    assert before["WatchdogUSec"] == "1min"
    until(
        lambda: unit("WatchdogTimestampMonotonic") != {
            "WatchdogTimestampMonotonic": before["WatchdogTimestampMonotonic"]
        },
        "the watchdog is fed",
    )  # fmt: skip
    return "fed"


def mount_namespace() -> str:
    """A private one would hide volumes and namespaces from containerd's shims."""
    pid = unit("MainPID")["MainPID"]
    own, init = os.readlink(f"/proc/{pid}/ns/mnt"), os.readlink("/proc/1/ns/mnt")
    assert own == init, (own, init)
    return own


def seen() -> str:
    found = status()
    assert found["cgroup_mode"] == "v2", found["cgroup_mode"]
    assert not found["cannot"] or all(one["why"] for one in found["cannot"])
    up = [f"{one['name']} {one['version']}" for one in found["neighbours"] if one["state"] == "up"]
    assert len(up) == 2, found["neighbours"]
    return f"{', '.join(up)}, {found['runtime']} ({found['runtime_why']}), kernel {found['kernel']}"


def members() -> str:
    """Of the group: served. Others: refused, with exit code 4 and what to do about it."""
    group = grp.getgrnam("longshore").gr_gid
    nobody = ("setpriv", "--reuid=65534", "--regid=65534")
    sh(*nobody, f"--groups={group}", "longshore", "ps")
    told = sh(*nobody, "--clear-groups", "longshore", "ps", code=4)
    assert "Permission denied" in told, told
    assert "group longshore" in told, told
    mode = Path("/run/longshore/agent.sock").stat().st_mode & 0o777
    assert mode == 0o660, oct(mode)
    return f"gid {group}"


def logged_once() -> str:
    """No time of our own beside the journal's, a priority that it knows, no line twice running."""
    lines = journal("-o", "cat", "_COMM=longshore-agent")
    assert any("serves node" in line for line in lines), lines
    assert not [line for line in lines if re.search(r"\d\d:\d\d:\d\d|<\d>", line)], lines
    assert not [one for one, following in pairwise(lines) if one == following], lines
    assert not [one for one in journal("-p", "warning", "-o", "cat") if "INFO" in one]
    return f"{len(lines)} lines"


def sample() -> str:
    written = Path("/etc/longshore/longshore.conf.sample").read_text().strip()
    assert written == sh("longshore-agent", "--print-config-sample").strip()
    return f"{len(written.splitlines())} lines"


def version() -> str:
    assert longshore("--version") == status()["version"]
    return str(status()["version"])


CHECKS = (
    ("unit is active, with a status", active),
    ("watchdog", watchdog),
    ("mount namespace is the host's", mount_namespace),
    ("status", seen),
    ("versions of command and agent", version),
    ("socket is for root and the group", members),
    ("journal", logged_once),
    ("sample configuration", sample),
)
