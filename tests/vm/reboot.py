"""Containers across a reboot of the node, in two parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vm import configured, policies
from vm.node import IMAGE, SLICE, left, longshore, remove_all, show, start, until
from vm.work import PAGE, fetch

#: Survives the reboot: what the first part saw, and in which boot.
_NOTES = Path("/var/lib/longshore-check.json")
_ADDRESS = "10.89.77.7"
_GIVEN = {"check-plain": (), "check-remapped": configured.REMAPPED}


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def is_second_part() -> bool:
    return _NOTES.exists() and json.loads(_NOTES.read_text())["boot"] != boot()


def prepare() -> str:
    """One that ends on SIGTERM, one that is deaf to it, one that ended, one never started; two that
    were given all that there is, one of them in a user namespace."""
    start("check-deaf", "-p", "8080:80", "--ip", _ADDRESS, "--memory", "64m", "--stop-timeout", "3")
    start("check-obeys", command="trap 'exit 3' TERM; while :; do sleep 1; done")
    longshore("run", "--name", "check-ended", IMAGE, "sh", "-c", "exit 4", code=4)
    longshore("create", "--name", "check-created", IMAGE)
    given = configured.prepare()
    for name, more in _GIVEN.items():
        start(name, *given, *more, command=configured.LOOK)
        configured.told(name, device=False)
    assert fetch("127.0.0.1", 8080) == PAGE
    names = ("check-deaf", "check-obeys", "check-ended", "check-created", *_GIVEN)
    _NOTES.write_text(json.dumps({"boot": boot(), "seen": {name: show(name) for name in names}}))
    return "now reboot (systemctl reboot, or pull the plug), and run the same again"


def stopped_with_a_reason() -> str:
    reasons = []
    for name, before in _seen().items():
        now = show(name)
        wanted = "created" if name == "check-created" else "stopped"
        assert now["state"] == wanted, now
        assert now["reason"], now
        assert now["pid"] is None, now
        assert now["nics"] == before["nics"], "the address is still its own"
        reasons.append(f"{name.removeprefix('check-')}: {now['reason']}")
    assert show("check-ended")["exit_code"] == 4
    return "; ".join(reasons)


def nothing_half_there() -> str:
    """What lasts while a container runs is gone; what lasts from create to delete is not."""
    lasting = ("container: ", "snapshot: ", "/var/lib/longshore/containers/")
    assert [one for one in left() if not one.startswith(lasting)] == []
    assert not list(SLICE.glob("*.scope"))
    return f"{len(left())} lasting objects"


def starts_again() -> str:
    longshore("start", "check-deaf", "check-obeys", "check-created")
    now, before = show("check-deaf"), _seen()["check-deaf"]
    assert (now["nics"], now["ports"]) == (before["nics"], before["ports"]), now
    assert now["limits"] == before["limits"], now
    until(lambda: fetch("127.0.0.1", 8080) == PAGE, "the port answers")
    return f"{now['nics'][0]['address']}, port {now['ports'][0]['host_port']}"


def given_again() -> str:
    """Secrets by value included: the request that had them is long gone."""
    longshore("start", *_GIVEN)
    for name in _GIVEN:
        configured.told(name, device=False, times=2)
        now = show(name)
        assert now["ids"] == _seen()[name]["ids"], now["ids"]
        configured.owners(now)
        configured.kept_secret(now)
    return ", ".join(_GIVEN)


def all_removed() -> str:
    remove_all()
    configured.remove()
    until(lambda: left() == [], "nothing is left")
    _NOTES.unlink()
    return "gone"


def _seen() -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(_NOTES.read_text())["seen"]
    return seen


BEFORE = (*policies.BEFORE, ("containers for the reboot", prepare))
AFTER = (
    *policies.AFTER,
    ("stopped, with a reason", stopped_with_a_reason),
    ("nothing is half there", nothing_half_there),
    ("start works again", starts_again),
    ("what was given is there again", given_again),
    ("all is removed", all_removed),
)
