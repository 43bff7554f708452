"""One declaration gives the file, the environment and the sample; bad values are named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from longshore.config import findings, load, sample
from longshore.errors import InvalidRequest
from longshore.options import OPTIONS

ROOT = Path(__file__).parents[1]


def configured(folder: Path, text: str) -> Path:
    file = folder / "longshore.conf"
    file.write_text(text)
    return file


def test_defaults(tmp_path: Path) -> None:
    config = load([], [configured(tmp_path, "")])
    assert config.state_dir == Path("/var/lib/longshore")
    assert str(config.gateway) == "10.89.0.1"
    assert config.volumes.roots == ["/srv"]
    assert config.node_name
    assert not config.policy.allow_privileged
    assert config.policy.allowed_capabilities == ["NET_ADMIN", "IPC_LOCK", "SYS_PTRACE"]


def test_run_dir_is_where_the_kernel_shows_its_mounts(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    config = load([], [configured(tmp_path, f"[DEFAULT]\nrun_dir = {tmp_path}/link/longshore\n")])
    assert config.run_dir == tmp_path / "run" / "longshore"


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = configured(tmp_path, "[DEFAULT]\nnode_name = from-file\n[bus]\nworkers = 3\n")
    monkeypatch.setenv("OS_DEFAULT__NODE_NAME", "from-environment")
    config = load([], [file])
    assert config.node_name == "from-environment"
    assert config.bus.workers == 3


BAD = [
    ("[network]\nsubnet = 10.0.0.1/16\n", "host bits"),
    ("[network]\nsubnet = 10.0.0.0/31\n", "too small"),
    ("[network]\nsubnet = 10.0.0.0/99\n", "[network] subnet is '10.0.0.0/99'"),
    ("[network]\ngateway = 192.0.2.1\n", "not in the subnet"),
    ("[network]\nport_min = 9\nport_max = 8\n", "port_min is above port_max"),
    ("[network]\nport_min = 0\n", "port_min"),
    ("[network]\nbridge = a/b\n", "bridge"),
    ("[containerd]\nruntime = lxc\n", "runtime"),
    ("[converge]\ninterval = soon\n", "interval"),
    ("[cgroup]\nparent = a-b\n", "parent"),
    ("[network]\ntable = a-b\n", "table"),
    ("[policy]\nallowed_capabilities = CHOWN,FLY\n", "allowed_capabilities"),
    ("[DEFAULT]\nnode_name = a b\n", "node_name"),
    ("[reserve]\nmemory = 20 apples\n", "'20 apples' is no size"),
    ("[reserve]\nmemory = x\n", "memory from /"),
    ("[secrets]\nsize = 1k\n", "size"),
    ("[DEFAULT]\nstate_dir = var\n", "absolute path"),
]


@pytest.mark.parametrize(("text", "why"), BAD, ids=[why for _, why in BAD])
def test_a_bad_value_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot use the configuration: ") as caught:
        load([], [configured(tmp_path, text)])
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sizes_have_units(tmp_path: Path) -> None:
    text = "[reserve]\nmemory = 2g\ndisk = 100\n[secrets]\nsize = 128MiB\n"
    config = load([], [configured(tmp_path, text)])
    assert (config.reserve.memory, config.reserve.disk) == (2 * 2**30, 100)
    assert config.secrets.size == 128 * 2**20


URL = "transport_url = rabbit://longshore:secret@broker:5672/"


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        (URL, 0o644, True),
        (URL.replace(" = ", "="), 0o604, True),
        (URL, 0o640, False),
        (f"#{URL}", 0o644, False),
        ("transport_url = rabbit://broker:5672/", 0o644, False),
        ("transport_url = rabbit://longshore@broker:5672/", 0o644, False),
        ("[glance]\npassword = secret", 0o644, True),
        ("[glance]\npassword = secret", 0o640, False),
        ("[glance]\napplication_credential_secret=secret", 0o644, True),
        ("[glance]\npassword =\nusername = longshore", 0o644, False),
    ],
)
def test_a_password_that_everybody_can_read(
    tmp_path: Path, text: str, mode: int, told: bool
) -> None:
    file = configured(tmp_path, f"[DEFAULT]\n{text}\n")
    config = load([], [file])
    file.chmod(mode)
    found = findings(config)
    assert [str(file) in one for one in found] == ([True] if told else [])
    assert "secret" not in str(found)


def test_a_password_in_a_folder_of_files(tmp_path: Path) -> None:
    file = configured(tmp_path, f"[DEFAULT]\n{URL}\n")
    file.chmod(0o644)
    config = load(["--config-dir", str(tmp_path)], [])
    assert len(findings(config)) == 1
    file.unlink()
    assert findings(config) == []


def test_an_installation_keeps_the_password_to_root() -> None:
    lines = (ROOT / "systemd/longshore.tmpfiles").read_text().splitlines()
    assert "d /etc/longshore 0750 root root -" in lines
    for guide in ("README.md", "systemd/README.md"):
        commands = [one.split() for one in (ROOT / guide).read_text().splitlines()]
        (made,) = [one for one in commands if one[-1:] == ["/etc/longshore/longshore.conf"]]
        assert made[:3] == ["install", "-m", "0640"], guide


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InvalidRequest, match="cannot use the configuration"):
        load([], [Path("/nowhere/longshore.conf")])


def test_the_daemon_refuses_a_bad_configuration_in_one_line(tmp_path: Path) -> None:
    file = configured(tmp_path, "[network]\nsubnet = moon\n")
    done = subprocess.run(
        [sys.executable, "-m", "longshore.daemon", "--config-file", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == os.EX_CONFIG
    assert done.stderr.splitlines()[-1].startswith("longshore-agent: cannot use the configuration")
    assert "Traceback" not in done.stderr


def test_the_sample_sets_nothing_and_names_everything(tmp_path: Path) -> None:
    text = "\n".join(sample())
    set_lines = [line for line in text.splitlines() if line and line[0] not in "#["]
    assert set_lines == []
    for group, options in OPTIONS.items():
        assert f"[{group}]" in text
        for option in options:
            assert f"\n#{option.name} = " in text
            assert option.help in text
    load([], [configured(tmp_path, text)])
    uncommented = "\n".join(
        line[1:] if line.startswith("#") and " = " in line and "<" not in line else line
        for line in text.splitlines()
        if "transport_url" not in line and "OS_<GROUP>" not in line
    )
    load([], [configured(tmp_path, uncommented)])


def test_the_sample_in_the_tree_is_what_the_declarations_say() -> None:
    kept = (ROOT / "systemd" / "longshore.conf.sample").read_text()
    assert kept == "\n".join(sample()) + "\n", "run `make config-sample`"
