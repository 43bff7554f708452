"""`make install DESTDIR=` fills a folder that a package can be made of, and the unit in it keeps
what systemd/README.md promises."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from longshore import __version__
from longshore.config import sample
from longshore.options import OPTIONS

CHECKOUT = Path(__file__).resolve().parent.parent
_HOME = "usr/lib/longshore"
_UNIT = "usr/lib/systemd/system/longshore-agent.service"
#: Everything that is installed, but for what is in the package's own environment.
_MODES: dict[str, int | None] = {
    "usr/bin/longshore": None,
    "usr/bin/longshore-agent": None,
    _UNIT: 0o644,
    "usr/lib/systemd/system/longshore.slice": 0o644,
    "usr/lib/sysusers.d/longshore.conf": 0o644,
    "usr/lib/tmpfiles.d/longshore.conf": 0o644,
    "usr/share/doc/longshore/README.md": 0o644,
    "etc/longshore/longshore.conf.sample": 0o644,
    "etc/longshore/flavors.toml.sample": 0o644,
}
#: systemd.exec(5): each of these gives the unit a mount namespace of its own.
_PRIVATE = re.compile(
    r"Private(Mounts|Tmp|Devices|IPC|Users|PIDs)|Mount(Flags|APIVFS|Images)"
    r"|Protect(System|Home|Hostname|Proc|Kernel\w+|ControlGroups)|ProcSubset|DynamicUser"
    r"|LogNamespace|(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec|Bind|BindReadOnly)Paths"
    r"|BindLogSockets|TemporaryFileSystem|Root(Directory|Image|Ephemeral)"
    r"|Extension(Images|Directories)|(Load|Set|Import)Credential\w*|CacheDirectory"
    r"|NetworkNamespacePath|PrivateNetwork|JoinsNamespaceOf"
)

#: Without what the `make` and the interpreter around these tests hand down.
_ENVIRONMENT = {
    **{
        name: value
        for name, value in os.environ.items()
        if not re.match("PYTHON|M(AKE|FLAGS)", name)
    },
    "PYTHONDONTWRITEBYTECODE": "1",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `make install` put below DESTDIR, from a copy of what git has of this tree."""
    folder = tmp_path_factory.mktemp("install")
    tree, destdir = folder / "tree", folder / "destdir"
    for name in _said("git", "ls-files", "-z", "-co", "--exclude-standard").split("\0"):
        if name and (CHECKOUT / name).is_file():  # what is deleted and not yet committed is not
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, tree / name)
    # The present environment builds the wheel: a new one would download what is here.
    (tree / ".venv").symlink_to(sys.prefix)
    (tree / ".setup").mkdir()
    (tree / ".setup/venv").touch()
    command = ["make", "install", f"DESTDIR={destdir}", "PREFIX=/usr", f"PYTHON={_base()}"]
    _said(*command, cwd=tree)
    yield destdir
    shutil.rmtree(folder)


def test_every_file_is_at_its_place_with_its_mode(installed: Path) -> None:
    files = {
        path.relative_to(installed).as_posix(): path
        for path in installed.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    around = {name for name in files if not name.startswith(f"{_HOME}/")}
    assert around == set(_MODES)
    for name, mode in _MODES.items():
        if mode is None:
            assert os.readlink(files[name]) == f"../lib/longshore/bin/{Path(name).name}"
            assert stat.S_IMODE(files[name].stat().st_mode) == 0o755
        else:
            assert stat.S_IMODE(files[name].lstat().st_mode) == mode, name
    # The operator's longshore.conf, which will lie here, has the message queue's password.
    assert stat.S_IMODE((installed / "etc/longshore").stat().st_mode) == 0o750
    foreign = [name for name, path in files.items() if path.lstat().st_uid != os.geteuid()]
    assert foreign == []


def test_nothing_in_it_names_where_it_was_built(installed: Path) -> None:
    built = str(installed.parent).encode()
    naming = [
        str(path.relative_to(installed))
        for path in installed.rglob("*")
        if path.is_file() and not path.is_symlink() and built in path.read_bytes()
    ]
    assert naming == []
    for command in ("longshore", "longshore-agent"):
        first = (installed / "usr/bin" / command).read_text().splitlines()[0]
        assert first.startswith("#!/usr/lib/longshore/bin/python")


def test_the_commands_run(installed: Path) -> None:
    version = _runs(installed, "longshore-agent", "--version")
    assert __version__ in version
    assert "Usage: longshore " in _runs(installed, "longshore", "--help")
    # With stubs, dependencies and all.
    where = _said(str(_python(installed)), "-c", _IMPORTS, cwd=installed)
    assert set(where.split()) == {str(installed / _HOME)}


_IMPORTS = """
import sys
import longshore.daemon, longshore.cli.main, longshore.pb.containerd.tasks_pb2 as stubs, grpc
for module in (longshore.daemon, stubs, grpc):
    print(module.__file__.partition("/lib/python")[0])
"""


def test_the_sample_explains_every_option(installed: Path) -> None:
    text = (installed / "etc/longshore/longshore.conf.sample").read_text()
    assert text.splitlines() == [*sample()]
    kept = CHECKOUT / "systemd/longshore.conf.sample"
    assert text == kept.read_text(), "make config-sample"


def test_the_unit_keeps_its_promises(installed: Path) -> None:
    service = _section(installed / _UNIT, "Service")
    for name, value in {
        "Type": "notify",
        "NotifyAccess": "main",
        "ExecStart": "/usr/bin/longshore-agent",
        "KillMode": "process",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "78",
        "RuntimeDirectory": "longshore",
        "RuntimeDirectoryPreserve": "yes",
        "StateDirectory": "longshore",
        "StateDirectoryMode": "0700",
    }.items():
        assert service[name] == [value], name
    assert int(service["WatchdogSec"][0]) > 0
    stop_timeout = next(one for one in OPTIONS["converge"] if one.name == "stop_timeout").default
    assert int(service["TimeoutStopSec"][0]) > stop_timeout
    unit = _section(installed / _UNIT, "Unit")
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert "Requires" not in unit
    assert "BindsTo" not in unit
    assert any("containerd.service" in line.split() for line in unit["After"])


def test_the_unit_stays_in_the_hosts_mount_namespace(installed: Path) -> None:
    assert _making_private(_section(installed / _UNIT, "Service")) == []


@pytest.mark.parametrize("line", ["PrivateTmp=yes", "ProtectSystem=strict", "BindPaths=/srv"])
def test_an_option_that_hides_mounts_is_found(line: str, tmp_path: Path) -> None:
    unit = tmp_path / "x.service"
    unit.write_text(f"[Service]\nType=notify\n{line}\n")
    assert _making_private(_section(unit, "Service")) == [line.partition("=")[0]]


def test_all_that_the_unit_warns_of_is_looked_for(installed: Path) -> None:
    text = (installed / _UNIT).read_text()
    warned = re.findall(r"^#   (\w.*)$", text, re.MULTILINE)
    names = [name for line in warned for name in line.split()]
    assert len(names) > 20
    assert [name for name in names if not _PRIVATE.fullmatch(name)] == []


def test_the_slice_and_the_folders_are_those_of_the_configuration(installed: Path) -> None:
    defaults = {f"{group}.{one.name}": one.default for group in OPTIONS for one in OPTIONS[group]}
    assert (installed / f"usr/lib/systemd/system/{defaults['cgroup.parent']}.slice").is_file()
    sysusers = (installed / "usr/lib/sysusers.d/longshore.conf").read_text()
    assert re.search(rf"^g {defaults['local.group']} -$", sysusers, re.MULTILINE)
    tmpfiles = (installed / "usr/lib/tmpfiles.d/longshore.conf").read_text()
    lines = [line.split() for line in tmpfiles.splitlines() if not line.startswith("#")]
    assert lines == [
        ["d", defaults["DEFAULT.run_dir"], "0755", "root", "root", "-"],
        ["d", defaults["DEFAULT.state_dir"], "0700", "root", "root", "-"],
        ["d", *defaults["images.archive_roots"], "0700", "root", "root", "-"],
        ["d", "/etc/longshore", "0750", "root", "root", "-"],
        ["d", defaults["secrets.folder"], "0700", "root", "root", "-"],
    ]


def _section(unit: Path, wanted: str) -> Mapping[str, Sequence[str]]:
    """The values of each option in one section; an option may stand there several times."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in map(str.strip, unit.read_text().splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif line and line[0] not in "#;" and section == wanted:
            name, _, value = line.partition("=")
            found.setdefault(name.strip(), []).append(value.strip())
    return found


def _making_private(service: Mapping[str, Sequence[str]]) -> Sequence[str]:
    return [name for name in service if _PRIVATE.fullmatch(name)]


def _base() -> str:
    """The interpreter that this environment was made of."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(Path(sys.base_prefix) / "bin" / version)


def _python(installed: Path) -> Path:
    return installed / _HOME / "bin/python"


def _runs(installed: Path, command: str, *words: str) -> str:
    """What a command prints; its first line names where it will be, so it is not run by that."""
    return _said(str(_python(installed)), str(installed / "usr/bin" / command), *words)


def _said(*command: str, cwd: Path = CHECKOUT) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        umask=0o022,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
