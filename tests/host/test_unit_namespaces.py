"""With the namespaces that the unit leaves the agent, what it does by them can be done.

The filter is as systemd makes it of RestrictNamespaces= (systemd.exec(5)): unshare, clone and setns
with the flag of another one fail, setns that names none as well, and clone3 is not there.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from longshore.host import mounts, namespaces, netns

UNIT = Path(__file__).resolve().parents[2] / "systemd" / "longshore-agent.service"
#: Its name in the unit → its CLONE_NEW flag.
FLAGS = {"cgroup": 0x02000000, "ipc": 0x08000000, "mnt": 0x00020000, "net": 0x40000000,
         "pid": 0x20000000, "user": 0x10000000, "uts": 0x04000000}  # fmt: skip
CLONE3 = 435
#: unshare, clone, setns.
NUMBERS = {"x86_64": (272, 56, 308), "aarch64": (97, 220, 268)}
SCRIPT = f"""
import ctypes, errno, json, struct, sys
from pathlib import Path
from {mounts.__name__} import leave_mounts
from {namespaces.__name__} import container_map, user_namespace
from {netns.__name__} import enter, ensure, in_thread, remove
from longshore.errors import LongshoreError
from longshore.model.host import Ids

folder, denied, unshare, clone, setns = Path(sys.argv[1]), *map(int, sys.argv[2:])
LOAD, EQUAL, ANY, RETURN = 0x20, 0x15, 0x45, 0x06
rules = [  # what to do, where to go on if so and if not, counted from the next
    (LOAD, 0, 0, 0),            # the number of the call
    (EQUAL, 10, 0, {CLONE3}),
    (EQUAL, 2, 0, unshare),
    (EQUAL, 1, 0, clone),
    (EQUAL, 2, 5, setns),
    (LOAD, 0, 0, 16),           # its first argument
    (ANY, 4, 3, denied),
    (LOAD, 0, 0, 24),           # its second one
    (EQUAL, 2, 0, 0),
    (ANY, 1, 0, denied),
    (RETURN, 0, 0, 0x7FFF0000),
    (RETURN, 0, 0, 0x00050000 | errno.EPERM),
    (RETURN, 0, 0, 0x00050000 | errno.ENOSYS),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code))
for call in ((38, 1, 0, 0, 0), (22, 2, program, 0, 0)):  # no new privileges; the filter
    assert ctypes.CDLL(None).prctl(*call) == 0


def network():
    ensure(folder / "net")
    try:
        in_thread(lambda: enter(folder / "net"))
    finally:
        remove(folder / "net")


def users():
    with user_namespace(container_map(Ids(1_000_000_000, 65536))):
        pass


failed = []
for name, work in (("mnt", lambda: in_thread(leave_mounts)), ("net", network), ("user", users)):
    try:
        work()
    except (OSError, LongshoreError):
        failed.append(name)
print(json.dumps(failed))
"""


def _left() -> set[str]:
    (line,) = re.findall(r"(?m)^RestrictNamespaces=(.*)", UNIT.read_text())
    return set(line.split())


def _failed(folder: Path, left: set[str]) -> list[str]:
    denied = sum(flag for name, flag in FLAGS.items() if name not in left)
    numbers = NUMBERS[platform.machine()]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder, str(denied), *map(str, numbers)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    failed: list[str] = json.loads(done.stdout)
    return failed


def test_all_can_be_done(tmp_path: Path) -> None:
    assert _failed(tmp_path, _left()) == []


@pytest.mark.parametrize("one", sorted(_left()))
def test_none_of_them_is_too_many(tmp_path: Path, one: str) -> None:
    assert _failed(tmp_path, _left() - {one}) == [one]
