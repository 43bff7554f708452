"""What `run` and `create` refuse, each with the name of the option that it came by."""

from __future__ import annotations

import re

import pytest

from fakes.node import FakeNode
from fakes.shell import Shell


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--memory", "256x"], "'--memory' / '-m': '256x' is no size"),
        (["--memory=-1m"], "'-1m' is no size"),
        (["--cpus", "half"], "'--cpus': 'half' is no number of cores"),
        (["--shm-size", "1.5"], "'--shm-size': '1.5' is no size"),
        (["--pids-limit", "many"], "'--pids-limit': 'many' is not a valid integer"),
        (["--ulimit", "nofile"], "'--ulimit': 'nofile' is no ulimit"),
        (["--ulimit", "nofile=-1"], "is no ulimit"),
        (["-p", "x:80"], "'--publish' / '-p': 'x:80' is no port"),
        (["-p", "1-3:80"], "publishes 1 ports on 3"),
        (["-p", "9-1"], "9-1 runs backwards"),
        (["-p", "1-65535"], "more than 256 ports"),
        (["-v", "data:/x:shared"], "'shared' is no option of volume data: ro, rw, nocopy"),
        (["-v", "/srv:/x:nocopy"], "'nocopy' is no option of a volume"),
        (["-v", "/srv:/x:ro,rw"], "says two things"),
        (["-v", "-x:/x"], "mounts[0].name: must be 1 to 63"),
        (["-v", "srv"], "is no volume"),
        (["-v", "/srv:/x:rx"], "'rx' is no option of a volume"),
        (["--mount", "type=npipe,target=/x"], "'npipe' is no type of mount: bind, volume, tmpfs"),
        (["--mount", "src=/a,dst=/x,target=/y"], "target is given twice"),
        (["--mount", "src=/a,dst=/x,uid=5"], "uid: of a folder that is made: add create"),
        (["--mount", "src=/a,dst=/x,create,mode=9"], "mode: '9' is no mode"),
        (["--mount", "src=/a,dst=/x,bind-recursive=no"], "mounts[0].recursive: must be 'enabled'"),
        (["--volumes-from", "db:rx"], "'--volumes-from': 'db:rx' names no container"),
        (["--oom-policy", "sulk"], "'--oom-policy': 'sulk' is not one of"),
        (["--oom-policy", "kill"], "limits.oom_policy: kill needs memory"),
        (
            ["--oom-policy", "kill", "--oom-kill-disable"],
            "--oom-policy and --oom-kill-disable say the same",
        ),
        (["--disk", "1g", "--storage-opt", "size=2g"], "--disk and --storage-opt say the same"),
        (["--storage-opt", "dm.x=1"], "'dm.x' is no storage option"),
        (["--oom-score-adj", "1001"], "limits.oom_score_adj: must be at most 1000"),
        (["--memory-reservation", "1"], "limits.memory_reservation: must be at least"),
        (["--blkio-weight", "9"], "limits.io_weight"),
        (["--device-read-bps", "10m"], "'--device-read-bps': '10m' is no limit of a device"),
        (["--device-read-iops", "/dev/sda:10m"], "'10m' is no number"),
        (
            ["--device-write-bps", "/dev/a:1", "--device-write-bps", "/dev/a:2"],
            "/dev/a has two limits of write_bps",
        ),
        (["--hugepages", "2MB"], "'--hugepages': '2MB' is no limit"),
        (["--hugepages", "2M=4m"], "limits.hugepages: '2M' is no size of a huge page"),
        (["--hugepages", "2MB=1m"], "no whole number of pages"),
        (["--flavor", "a b"], "flavor.name: must be 1 to 63"),
        (["--group-add", "a b"], "groups[0]"),
        (["--domainname", "-"], "domain: must be a host name"),
        (["--add-host", "db"], "'--add-host': 'db' is no host"),
        (["--add-host", "db:here"], "hosts[db]: "),
        (["--add-host", "a_b:10.0.0.1"], "hosts[a_b]: must be a host name"),
        (["--add-host", "a:10.0.0.1", "--add-host", "a:10.0.0.2"], "--add-host: a has two values"),
        (["--dns", "here"], "dns.servers[0]: "),
        (["--dns-search", "_"], "dns.search[0]: "),
        (["--dns-option", "N"], "dns.options[0]: "),
        (["--tz", "../x"], "timezone: must be a time zone"),
        (["--annotation", "plain"], "'--annotation': 'plain' has no name and value"),
        (["--userns", "mine"], "'--userns': 'mine' is no user namespace"),
        (["--sysctl", "x=1"], "security.sysctls[x]: 'x' is no sysctl"),
        (["--memory", "64m", "-m", "65m"], "'--memory' / '-m': has two values"),
        (["--network", "a", "--network", "b"], "'--network': has two values"),
        (["--mount", "source=data,target=/x"], "a volume needs type=volume"),
        (["--device", "/dev/fuse:rx"], "'rx' is no path, and no access"),
        (["--tmpfs", "/x:mode=17777"], "at most 7777"),
        (["--device", "fuse"], "'--device': 'fuse' is no device"),
        (["--device", "/dev/a:/dev/b:/dev/c"], "is no device"),
        (["--device", "/dev/a:/dev/b", "--device", "/dev/b"], "device /dev/b is given twice"),
        (["--network", "host", "--ip", "10.0.0.1"], "--network host leaves nothing for --ip"),
        (["--network", "host", "-p", "80"], "--network host leaves nothing to publish"),
        (["--network", "host", "-P"], "--network host leaves nothing to publish"),
        (["--mount", "type=bind,from=/x"], "'from' is no key of a bind mount"),
        (["--mount", "src=/x,dst=/x,ro=maybe"], "ro: 'maybe' is neither true nor false"),
        (["--tmpfs", "/x:size=big"], "'--tmpfs': size: 'big' is no size"),
        (["--tmpfs", "/x:uid=1"], "'uid' is no key of a tmpfs mount"),
        (["--stop-signal", "99"], "there is no signal 99"),
        (["--stop-timeout", "soon"], "'soon' is no time"),
        (["--health-http", "/up"], "'/up' is no page"),
        (["--health-tcp", "http"], "'http' is no"),
        (["--health-interval", "5"], "what is probed is missing"),
        (["--health-tcp", "1", "--health-cmd", "true"], "say the same: give one of them"),
        (["-e", "=x"], "'=x' has no name"),
        (["--env-file", "/nonexistent"], "cannot read /nonexistent: No such file"),
        (["--network", "none", "--ip", "10.0.0.1"], "leaves nothing for --ip"),
        (["--network", "none", "-P"], "leaves nothing to publish"),
        (["--network", "none", "-p", "80"], "leaves nothing to publish"),
        (["--pull", "sometimes"], "'--pull': 'sometimes' is not one of"),
        (["--image-credential", "a/b"], "image_credential: must be 1 to 63"),
        (["--registry-user", "ci"], "--registry-user needs --registry-password-stdin"),
        (["--registry-password-stdin"], "whose password? give --registry-user"),
        (["--registry-token-stdin"], "stdin has no token"),
        (["--registry-token-stdin", "--registry-user", "ci"], "drop --registry-user"),
        (["--registry-token-stdin", "--image-credential", "ci"], "a credential is named (ci)"),
        (["--frobnicate"], "no such option"),
        (["--memory", "5m"], "limits.memory"),
        (["--memory-swap", "64m"], "limits.memory_swap: needs memory"),
        (["--cpu-shares", "1"], "limits.cpu_shares"),
        (["--cpuset-cpus", "a"], "limits.cpuset"),
        (["-p", "99999"], "ports[0].container_port"),
        (["-v", "/a/../b:/x"], "mounts[0].source"),
        (["-v", "/a:/x", "--tmpfs", "/x"], "target /x is given twice"),
        (["--cap-add", "FLY"], "security.cap_add[0]"),
        (["--name", "a b"], "name: must be 1 to 63"),
        (["--id", "x"], "id: "),
        (["--ip", "10.0.0.256"], "nics[0].address"),
        (["--hostname=-x-"], "hostname: must be a host name"),
        (["--stop-signal", "SIGFOO"], "stop_signal"),
        (["--workdir", "srv"], "workdir: must be an absolute path"),
        (["-e", "A=\udc80"], "is not UTF-8"),
    ],
    ids=lambda one: str(one)[:40].encode(errors="replace").decode(),
)
def test_what_is_wrong_is_refused(
    shell: Shell, node: FakeNode, options: list[str], says: str
) -> None:
    result = shell.run("run", "-d", *options, "busybox:1")
    assert says in result.stderr
    assert result.stderr.startswith("longshore: ")
    assert result.stderr.count("\n") <= 2
    assert (result.exit_code, result.stdout) == (2, "")
    assert node.calls == {}


def test_all_faults_are_told_and_the_option_named(shell: Shell) -> None:
    result = shell.run("create", "-m", "5m", "--cpu-shares", "1", "busybox:1")
    assert "limits.memory" in result.stderr
    first, *more = [line for line in result.stderr.splitlines() if "limits." in line]
    assert {"memory", "cpu_shares"} == {
        re.findall(r"limits\.(\w+)", line)[0] for line in (first, *more)
    }
    assert more[0].startswith("  also: limits.")
    flag = "--memory" if "limits.memory" in first else "--cpu-shares"
    assert result.stderr.endswith(f"hint: this is what {flag} gave\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "-o", "json", "busybox:1"], "-o json needs -d"),
        (["run", "-d"], "missing argument 'IMAGE'"),
        (["frob"], "no such command 'frob'"),
        (["--timeout", "x", "ps"], "'x' is no time"),
    ],
)
def test_usage(shell: Shell, words: list[str], says: str) -> None:
    result = shell.run(*words)
    assert says in result.stderr
    assert "hint: longshore" in result.stderr
    assert result.exit_code == 2
