"""What a container is given, under the unit's sandboxing, with each runtime: files, secrets, keys,
volumes, a user namespace, devices, sysctls, the node's network; and the policy, which `systemctl
reload` changes. The same after a kill -9 of the agent, a stop and a start."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vm.node import (
    IMAGE,
    UNIT,
    agent_with,
    journal,
    left,
    longshore,
    running,
    settle,
    sh,
    show,
    status,
    unit,
    until,
)

_CONF = Path("/etc/longshore/longshore.conf")
_OWN_SECRETS = Path("/etc/longshore/secrets")
_SECRETS = "/run/longshore/secrets"
_FOLDER = Path("/srv/longshore-given")
_NAME, _VOLUME = "check-given", "check-named"
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0bXq3rTnPr6l3P6vyr7C5yTgk7a9Qw7rXJt0m9m5hZ check"
#: By value and by reference; neither may be found in anything that is stored.
VALUE, OWN = "check-Vq8-by-value-zz1", "check-Rw4-by-reference-zz2"
LOOK = """
echo "user $(id -u) groups $(id -G), process 1 is $(cat /proc/1/comm)"
for f in /etc/app.conf /run/secrets/word /run/secrets/own /bind/app /named/old \
    /root/.ssh/authorized_keys; do
    echo "$f $(stat -c '%u:%g %a' $f) $(sha256sum < $f | cut -c 1-12)"
done
cp /bind/app /bind/new; chown 7:8 /bind/new; touch /named/new; chown 7:8 /named/new
touch /made; chown 1000:2000 /made
(echo x > /run/secrets/word) 2>/dev/null || echo "secrets are read-only"
echo "$(hostname) $(grep -c 192.0.2.9 /etc/hosts) $(cat /proc/sys/net/core/somaxconn)"
echo "winter $(date -d @1700000000 +%H:%M)"
(exec 3<>/dev/net/tun) && echo "a device"
echo told
exec sleep 1000
"""
_DEVICE = ("--device", "/dev/net/tun:rw")
#: What they need of the node's policy.
_POLICY = {"OS_POLICY__ALLOWED_DEVICES": "/dev/net/tun:rw", "OS_POLICY__ALLOW_HOST_NETWORK": "true"}
REMAPPED = ("--userns", "private")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _seen(*, device: bool) -> list[str]:
    """What the script says, whatever namespace it is in."""
    return [
        "user 0 groups 0 2000, process 1 is .longshore-init",
        f"/etc/app.conf 5:6 640 {_digest('port=1')}",
        f"/run/secrets/word 1000:7 440 {_digest(VALUE)}",
        f"/run/secrets/own 0:0 400 {_digest(OWN)}",
        f"/bind/app 1000:1000 600 {_digest('of the node')}",
        f"/named/old 1000:1000 600 {_digest('kept')}",
        f"/root/.ssh/authorized_keys 0:0 600 {_digest(_KEY + chr(10))}",
        "secrets are read-only",
        "inner 1 77",
        "winter 23:13",
        *(["a device"] if device else []),
        "told",
    ]


def prepare() -> Sequence[str]:
    """The node's part, and the options that ask for it."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    (bind := _FOLDER / "bind").mkdir(exist_ok=True)
    _put(bind / "app", "of the node", 1000)
    _put(_FOLDER / "conf", "port=1", 0)
    _put(_FOLDER / "key.pub", _KEY + "\n", 0)
    _put(_OWN_SECRETS / "check-own", OWN, 0)
    longshore("volume", "create", _VOLUME)
    mounted = longshore("volume", "inspect", _VOLUME)
    data = next(one for one in re.findall(r'"(/[^"]+)"', mounted) if _VOLUME in one)
    _put(Path(data) / "old", "kept", 1000)
    os.environ["CHECK_WORD"] = VALUE
    return (
        "--init", "--hostname", "inner", "--add-host", "db:192.0.2.9", "--group-add", "extra",
        "--tz", "Europe/Berlin", "--sysctl", "net.core.somaxconn=77",
        "--file", f"/etc/app.conf={_FOLDER / 'conf'},mode=640,uid=5,gid=6",
        "--secret", "id=word,env=CHECK_WORD,uid=1000,gid=7,mode=440",
        "--secret", "id=own,ref=check-own", "--key-pair", str(_FOLDER / "key.pub"),
        "-v", f"{bind}:/bind", "-v", f"{_VOLUME}:/named", *_disk(),
    )  # fmt: skip


def remove() -> None:
    subprocess.run(["longshore", "volume", "rm", _VOLUME], capture_output=True, check=False)
    shutil.rmtree(_FOLDER, ignore_errors=True)
    (_OWN_SECRETS / "check-own").unlink(missing_ok=True)


def told(name: str, *, device: bool, times: int = 1) -> None:
    """Waits until it has said all of it so many times, and compares the last."""
    until(lambda: longshore("logs", name).splitlines().count("told") == times, f"{name} looks")
    wanted = _seen(device=device)
    found = longshore("logs", name).splitlines()[-len(wanted) :]
    assert found == wanted, [one for one in found if one not in wanted]


def owners(found: dict[str, Any]) -> None:
    """Whose its process and its own files are for the node; what outlives it has its numbers."""
    first = found["ids"]["first"] if found["ids"] else 0
    proc = Path(f"/proc/{found['pid']}")
    assert proc.stat().st_uid == first, proc.stat().st_uid
    for path, owner in (
        (proc / "root/made", (first + 1000, first + 2000)),
        (_FOLDER / "bind/new", (7, 8)),
    ):
        has = path.stat()
        assert (has.st_uid, has.st_gid) == owner, (path, has)


def kept_secret(found: dict[str, Any]) -> None:
    """In a memory that is not swapped, which the host's mount namespace has; nowhere else."""
    mounts = [one.split() for one in Path("/proc/1/mounts").read_text().splitlines()]
    (options,) = {one[3] for one in mounts if one[1:3] == [_SECRETS, "tmpfs"]}
    assert "noswap" in options.split(","), options
    assert Path(_SECRETS).stat().st_mode & 0o777 == 0o700
    stored = (
        "/var/lib/longshore", "/var/lib/containerd/io.containerd.metadata.v1.bolt",
        f"/run/containerd/io.containerd.runtime.v2.task/longshore/{found['id']}/config.json",
    )  # fmt: skip
    for value in (VALUE, OWN):
        sh("grep", "-raqF", value, *stored, code=1)
        assert not [one for one in journal("-o", "cat") if value in one]
        assert value not in longshore("inspect", found["id"])


def _with(runtime: str) -> Callable[[], str]:
    def check() -> str:
        with _agent(runtime):
            options = prepare()
            for more in ((), REMAPPED):
                with running(_NAME, *options, *_DEVICE, *more, command=LOOK) as found:
                    told(_NAME, device=True)
                    owners(found)
                    kept_secret(found)
                    sh("systemctl", "kill", "-s", "KILL", UNIT)
                    settle()
                    assert show(_NAME)["pid"] == found["pid"]
                    longshore("stop", "-t", "0", _NAME)
                    assert not Path(_SECRETS, found["id"]).exists()
                    longshore("start", _NAME)
                    told(_NAME, device=True, times=2)
                    owners(show(_NAME))
                ids = found["ids"]
            assert left() == [], left()
            _host_network()
        return f"remapped to {ids['first']}"

    return check


def _host_network() -> None:
    look = "readlink /proc/self/ns/net; hostname"
    said = longshore("run", "--rm", "--network", "host", IMAGE, "sh", "-c", look).splitlines()
    assert said[0] == os.readlink("/proc/1/ns/net"), said


def reload() -> str:
    """At once for the next request; a file that is wrong leaves what was."""
    pid = unit("MainPID")["MainPID"]
    before = _CONF.read_bytes()
    try:
        refused = longshore("create", "--network", "host", IMAGE, code=1)
        assert "[policy] allow_host_network" in refused, refused
        with _CONF.open("a") as file:
            file.write("\n[policy]\nallow_host_network = true\n")
        sh("systemctl", "reload", UNIT)
        _host_network()
        good = _CONF.read_bytes()
        for bad in ("allow_host_network = perhaps\n", "[policy\n"):
            _CONF.write_bytes(good + bad.encode())
            sh("systemctl", "reload", UNIT)
            _host_network()
            assert any("not reloaded" in one for one in status()["converge"]["findings"])
    finally:
        _CONF.write_bytes(before)
        sh("systemctl", "reload", UNIT)
    assert status()["converge"]["findings"] == []
    longshore("create", "--network", "host", IMAGE, code=1)
    assert unit("MainPID")["MainPID"] == pid
    return refused.splitlines()[0]


@contextmanager
def _agent(runtime: str) -> Iterator[None]:
    with agent_with({"OS_CONTAINERD__RUNTIME": runtime, **_POLICY}):
        sh("systemctl", "restart", UNIT)
        settle()
        try:
            yield
        finally:
            remove()


def _disk() -> Sequence[str]:
    """Where the node can."""
    cannot = {one["feature"] for one in status()["cannot"]}
    return () if "limits.disk" in cannot else ("--disk", "32m")


def _put(file: Path, text: str, owner: int) -> None:
    file.write_text(text)
    file.chmod(0o600)
    os.chown(file, owner, owner)


CHECKS = (
    ("given by crun", _with("crun")),
    ("given by runc", _with("runc")),
    ("policy by systemctl reload", reload),
)
