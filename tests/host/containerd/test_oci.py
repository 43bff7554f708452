"""The OCI spec as a pure function: what of a request ends up where."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host.containerd.stepwise import spec_of
from longshore.errors import HostUnavailable, InvalidSpec
from longshore.host.containerd import asked as asked_module
from longshore.host.containerd import seccomp
from longshore.host.containerd.asked import Asked, AskedDevice, look_up
from longshore.host.containerd.node import UNLIMITED, Device, OciNode, detect
from longshore.host.containerd.oci import check_capabilities, oci_spec
from longshore.host.containerd.oci_limits import check_rlimits
from longshore.host.containerd.oci_security import check_domain
from longshore.host.containerd.oci_userns import check_remount, check_user
from longshore.host.init import Init
from longshore.model.host import Ids, ImageConfig, Runtime, User
from longshore.model.layout import Layout
from longshore.model.linux import CAPABILITIES, DEFAULT_CAPABILITIES, RLIMITS
from longshore.model.names import Names

LAYOUT = Layout(Path("/var/lib/longshore"), Path("/run/longshore"))
NODE = OciNode(
    machine="x86_64",
    systemd_cgroup=False,
    capabilities=frozenset(f"CAP_{name}" for name in CAPABILITIES if name != "SYS_RESOURCE"),
    rlimits=dict.fromkeys(RLIMITS, UNLIMITED) | {"nofile": 20000},
    oom_score_adj=0,
)
IMAGE = ImageConfig(
    entrypoint=("/entry",), command=("default",), env=("A=image", "B=image", "PATH=/bin")
)


def oci(image: ImageConfig = IMAGE, user: User | None = None, **fields: Any) -> dict[str, Any]:
    fields.setdefault("command", [])
    spec = spec_of(**fields)
    made = oci_spec(spec, Names(spec.id), image, user or User(), LAYOUT, NODE)
    assert json.loads(json.dumps(made)) == made, "JSON types only"
    return made


def mount_at(made: dict[str, Any], target: str) -> dict[str, Any]:
    found = [one for one in made["mounts"] if one["destination"] == target]
    assert len(found) == 1
    return dict(found[0])


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({}, ["/entry", "default"]),
        ({"command": ["mine"]}, ["/entry", "mine"]),
        ({"entrypoint": ["/other"]}, ["/other"]),
        ({"entrypoint": ["/other"], "command": ["mine"]}, ["/other", "mine"]),
        ({"entrypoint": [], "command": ["mine"]}, ["mine"]),
    ],
)
def test_entrypoint_and_command(fields: dict[str, Any], arguments: list[str]) -> None:
    assert oci(**fields)["process"]["args"] == arguments


def test_no_command_anywhere() -> None:
    with pytest.raises(InvalidSpec, match="no command") as caught:
        oci(ImageConfig())
    assert caught.value.field == "command"


def test_environment_image_then_spec() -> None:
    made = oci(env={"B": "spec", "C": "a=b"}, user=User(home="/home/x"), hostname="h")
    assert made["process"]["env"] == [
        "PATH=/bin", "HOSTNAME=h", "HOME=/home/x", "A=image", "B=spec", "C=a=b",
    ]  # fmt: skip
    bare = oci(ImageConfig(command=("x",)))["process"]["env"]
    assert bare[0].startswith("PATH=/usr/local/sbin:")
    assert bare[1:] == ["HOSTNAME=test", "HOME=/root"]


def test_workdir_and_user() -> None:
    made = oci(ImageConfig(command=("x",), workdir="/srv"), user=User(7, 8, (9, 10)))
    assert made["process"]["cwd"] == "/srv"
    assert made["process"]["user"] == {"uid": 7, "gid": 8, "additionalGids": [9, 10]}
    assert oci(workdir="/mine")["process"]["cwd"] == "/mine"


def test_limits() -> None:
    made = oci(
        limits={
            "cpus": 1.5,
            "cpu_shares": 512,
            "cpuset": "0-1",
            "memory": 64 * 2**20,
            "memory_swap": 128 * 2**20,
            "pids": 50,
            "shm_size": 8192,
            "ulimits": [{"name": "nofile", "soft": 10, "hard": 20}],
        }
    )
    limits = made["linux"]["resources"]
    assert limits["cpu"] == {"shares": 512, "cpus": "0-1", "quota": 150_000, "period": 100_000}
    assert limits["memory"] == {"limit": 64 * 2**20, "swap": 128 * 2**20}
    assert limits["pids"] == {"limit": 50}
    assert made["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]
    assert "size=8192" in mount_at(made, "/dev/shm")["options"]
    assert list(oci()["linux"]["resources"]) == ["devices"], "what is not limited is not there"


def test_mounts_of_the_spec() -> None:
    made = oci(
        mounts=[
            {"type": "bind", "source": "/srv/a", "target": "/data/deep/er"},
            {"type": "bind", "source": "/srv/b", "target": "/data", "read_only": True},
            {"type": "tmpfs", "target": "/data/deep", "size": 8192},
            {"type": "bind", "source": "/srv/h", "target": "/etc/hosts", "propagation": "rslave"},
        ]
    )
    targets = [one["destination"] for one in made["mounts"]]
    asked = {"/data", "/data/deep", "/etc/hosts", "/data/deep/er"}
    assert [one for one in targets if one in asked] == [
        "/data", "/data/deep", "/etc/hosts", "/data/deep/er",
    ]  # fmt: skip
    deepest = mount_at(made, "/data/deep/er")
    place = LAYOUT.volume(Names(made["linux"]["cgroupsPath"].rpartition("/")[2]), 0)
    assert deepest["source"] == str(place), "the number is the one in the spec"
    assert deepest["options"] == ["rbind", "rprivate", "rw"]
    assert mount_at(made, "/data")["options"] == ["rbind", "rprivate", "ro", "rro"]
    assert "size=8192" in mount_at(made, "/data/deep")["options"]
    assert mount_at(made, "/etc/hosts")["source"].endswith("/3"), "it takes the place of ours"
    assert made["linux"]["rootfsPropagation"] == "rslave"


def test_its_own_namespaces() -> None:
    made = oci(nics=[])
    kinds = {one["type"]: one.get("path") for one in made["linux"]["namespaces"]}
    assert set(kinds) == {"pid", "ipc", "uts", "mount", "cgroup", "network"}
    assert kinds.pop("network", "").startswith("/run/longshore/netns/")
    assert set(kinds.values()) == {None}


def test_where_the_cgroup_is() -> None:
    spec = spec_of()
    names = Names(spec.id)
    for systemd, path in (
        (False, f"/longshore/{spec.id}"),
        (True, f"longshore.slice:longshore:{spec.id}"),
    ):
        node = OciNode(**{**vars(NODE), "systemd_cgroup": systemd})
        made = oci_spec(spec, names, IMAGE, User(), LAYOUT, node)
        assert made["linux"]["cgroupsPath"] == path


def test_confined_unless_privileged() -> None:
    made = oci()
    assert made["process"]["noNewPrivileges"] is True
    assert made["process"]["capabilities"]["bounding"] == [
        f"CAP_{name}" for name in sorted(DEFAULT_CAPABILITIES)
    ]
    assert {"maskedPaths", "readonlyPaths", "seccomp"} <= set(made["linux"])
    assert made["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert "ro" in mount_at(made, "/sys")["options"]
    assert "devices" not in made["linux"]

    made = oci(security={"privileged": True})
    assert "devices" not in made["linux"], "nothing was looked up"
    assert made["process"]["noNewPrivileges"] is False
    assert set(made["process"]["capabilities"]["bounding"]) == NODE.capabilities
    assert not {"maskedPaths", "readonlyPaths", "seccomp"} & set(made["linux"])
    assert made["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "rw" in mount_at(made, "/sys")["options"]


def test_a_privileged_container_gets_the_devices_of_the_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_module, "_DEV", tmp_path)
    spec = spec_of(security={"privileged": True})

    def devices() -> list[str]:
        found = look_up(spec, Init())
        made = oci_spec(spec, Names(spec.id), IMAGE, User(), LAYOUT, NODE, None, found)
        return [one["path"] for one in made["linux"].get("devices", [])]

    assert devices() == []
    os.mknod(tmp_path / "plugged", stat.S_IFBLK, os.makedev(254, 0))
    assert devices() == [str(tmp_path / "plugged")]
    assert look_up(spec_of(), Init()).everything == ()


def test_a_user_of_the_image_that_its_namespace_has_not() -> None:
    ids = Ids(1000, 10)
    check_user(User(uid=9, groups=(9,)), ids, "web")
    with pytest.raises(InvalidSpec, match="as group 10: its user namespace has 10") as caught:
        check_user(User(groups=(10,)), ids, "web")
    assert [one["field"] for one in caught.value.faults] == ["user"]


def test_a_capability_that_the_agent_lacks() -> None:
    spec = spec_of(security={"cap_add": ["CHOWN", "SYS_RESOURCE"]})
    with pytest.raises(InvalidSpec, match="containerd itself does not have SYS_RESOURCE") as caught:
        check_capabilities(spec, NODE.capabilities)
    assert caught.value.field == "security.cap_add[1]"
    assert [one["field"] for one in caught.value.faults] == ["security.cap_add[1]"]
    check_capabilities(spec_of(security={"cap_add": ["ALL"]}), NODE.capabilities)


def test_rlimits_beyond_the_agents_own() -> None:
    def asking(*ulimits: tuple[str, int]) -> Any:
        listed = [{"name": name, "soft": 1, "hard": hard} for name, hard in ulimits]
        return spec_of(limits={"ulimits": listed})

    check_rlimits(asking(("nofile", 20000), ("core", 2**63 - 1)), NODE)
    with pytest.raises(InvalidSpec) as caught:
        check_rlimits(asking(("core", 5), ("nofile", 20001)), NODE)
    assert caught.value.field == "limits.ulimits[1].hard"
    assert [fault["field"] for fault in caught.value.faults] == ["limits.ulimits[1].hard"]
    assert "higher limit of their own" in str(caught.value.hint)


def test_files_smaller_than_the_runtime_writes() -> None:
    crun = replace(NODE, file_size_min=2**16)
    for size, refused in ((2**16, False), (2**16 - 1, True)):
        limits = {"ulimits": [{"name": "fsize", "soft": size, "hard": 2**20}]}
        check_rlimits(spec_of(limits=limits), NODE)
        if not refused:
            check_rlimits(spec_of(limits=limits), crun)
            continue
        with pytest.raises(InvalidSpec, match="fsize 65535 is below 65536") as caught:
            check_rlimits(spec_of(limits=limits), crun)
        assert caught.value.field == "limits.ulimits[0].soft"


def test_a_containerd_that_has_just_ended() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with pytest.raises(HostUnavailable, match=f"cannot look at containerd, process {ended.pid}: "):
        detect(Runtime("crun", "crun", False, ""), containerd=ended.pid)


def test_the_node_as_it_is() -> None:
    node = detect(Runtime("crun", "crun", False, ""))
    assert set(node.rlimits) == set(RLIMITS)
    if "CAP_SYS_RESOURCE" not in node.capabilities:
        assert node.rlimits["nofile"] == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def names_of(profile: Any, action: str = "SCMP_ACT_ALLOW") -> set[str]:
    return {
        name
        for rule in profile["syscalls"]
        if rule["action"] == action and not rule.get("args")
        for name in rule["names"]
    }


def test_what_seccomp_leaves_out() -> None:
    allowed = names_of(seccomp.profile((), "x86_64"))
    assert {"read", "openat", "clone", "execve", "arch_prctl"} - allowed == {"clone"}
    assert not allowed & {
        "acct", "add_key", "bpf", "clone3", "delete_module", "finit_module", "fsopen",
        "init_module", "io_uring_setup", "kexec_load", "keyctl", "mount", "nfsservctl",
        "open_by_handle_at", "perf_event_open", "pivot_root", "reboot", "request_key", "setns",
        "settimeofday", "swapon", "umount2", "unshare", "userfaultfd", "vhangup",
    }  # fmt: skip
    assert names_of(seccomp.profile((), "x86_64"), "SCMP_ACT_ERRNO") == {"clone3"}


def test_seccomp_follows_the_capabilities() -> None:
    assert "chroot" in names_of(seccomp.profile(("CAP_SYS_CHROOT",), "aarch64"))
    admin = seccomp.profile(("CAP_SYS_ADMIN",), "x86_64")
    assert {"mount", "unshare", "clone", "clone3", "setns"} <= names_of(admin)
    assert names_of(admin, "SCMP_ACT_ERRNO") == set()


def test_a_machine_without_a_filter_runs_nothing() -> None:
    with pytest.raises(HostUnavailable, match="riscv64"):
        seccomp.profile((), "riscv64")


def test_a_domain_in_a_user_namespace() -> None:
    """Nobody in there may write the sysctl; crun has another way, runc before 1.2 none."""
    spec = spec_of(domain="example.org", security={"user_namespace": True})
    made = oci_spec(spec, Names(spec.id), IMAGE, User(), LAYOUT, NODE, Ids(100000, 65536))
    assert made["domainname"] == "example.org"
    assert "kernel.domainname" not in made["linux"]["sysctl"]
    with pytest.raises(InvalidSpec, match="runtime cannot set it") as caught:
        check_domain(spec, replace(NODE, domainname=False))
    assert caught.value.field == "domain"
    made = oci(domain="example.org")
    assert "domainname" not in made
    assert made["linux"]["sysctl"]["kernel.domainname"] == "example.org"


def test_devices_in_a_user_namespace_are_mounted() -> None:
    spec = spec_of(security={"user_namespace": True})
    asked = Asked((AskedDevice(Device("/dev/in", "c", 10, 229, 0o600, 0, 0), "/dev/out", "r"),))
    named = (spec, Names(spec.id), IMAGE, User(), LAYOUT, NODE)
    rule = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"}
    for ids, made_there in ((None, True), (Ids(100000, 65536), False)):
        made = oci_spec(*named, ids, asked)
        assert made["linux"]["resources"]["devices"][-1] == rule
        listed = [one["path"] for one in made["linux"].get("devices", [])]
        assert listed == (["/dev/in"] if made_there else [])
        mounted = [one["source"] for one in made["mounts"] if one["destination"] == "/dev/in"]
        assert mounted == ([] if made_there else ["/dev/out"])


def test_the_nodes_own_network_has_no_namespace() -> None:
    made = oci(host_network=True)
    assert "network" not in [one["type"] for one in made["linux"]["namespaces"]]
    assert made["linux"]["sysctl"] == {}


@pytest.mark.parametrize(
    "fixed",
    [
        {"secrets": [{"name": "a", "value": "b"}]},
        {"mounts": [{"type": "bind", "source": "/a", "target": "/b", "read_only": True}]},
    ],
)
def test_what_crun_could_not_keep_read_only(fixed: dict[str, Any]) -> None:
    admin = {"user_namespace": True, "cap_add": ["SYS_ADMIN"]}
    spec = spec_of(security=admin, **fixed)
    with pytest.raises(InvalidSpec) as caught:
        check_remount(spec, "crun")
    assert caught.value.field == "security.cap_add"
    check_remount(spec, "runc")
    for harmless in ({"user_namespace": True}, {"cap_add": ["SYS_ADMIN"]}):
        check_remount(spec_of(security=harmless, **fixed), "crun")
    check_remount(spec_of(security=admin), "crun")
