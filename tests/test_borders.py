"""The borders of the rooms (who may import whom), and other rules that a reader relies on.

Each rule is a function from one module's source to its faults, so that each can be shown to
fail: a rule that never fails proves nothing.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "agent" / "longshore"
MAX_LINES = 400

#: Room → the rooms that it may import beside itself; a module at the top is a room of its own.
#: `wiring`, with `neighbours`, is the only wiring. `errors` and `__init__` are open to all.
ROOMS: Mapping[str, frozenset[str]] = {
    "daemon": frozenset({"config", "journald", "lifecycle", "wiring"}),
    "wiring": frozenset(
        {
            "config",
            "neighbours",
            "settings",
            "model",
            "lifecycle",
            "host",
            "bus",
            "local",
        }
    ),
    "neighbours": frozenset({"config", "settings", "model", "lifecycle", "host"}),
    "settings": frozenset({"config", "model", "host"}),
    "config": frozenset({"model", "options"}),
    "options": frozenset({"capacity_options", "policy_options", "model"}),
    "capacity_options": frozenset({"model"}),
    "policy_options": frozenset({"model"}),
    "journald": frozenset(),
    "errors": frozenset(),
    "__init__": frozenset(),
    "model": frozenset(),
    "lifecycle": frozenset({"model"}),
    "host": frozenset({"model"}),
    "bus": frozenset({"lifecycle", "model"}),
    "local": frozenset({"lifecycle", "model"}),
    "cli": frozenset({"model"}),
    "pb": frozenset(),
}
#: The clients through which the command line talks to an agent.
CLI_CLIENTS = ("longshore.local.client", "longshore.bus.client")
STUB_HOMES = ("host/containerd/", "local/")
#: Neighbour's library → where it may be imported.
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "oslo_messaging": ("bus/",),
    "oslo_service": ("bus/", "daemon.py"),
    "oslo_config": (
        "bus/",
        "config.py",
        "options.py",
        "capacity_options.py",
        "policy_options.py",
        "daemon.py",
    ),
    "oslo_log": ("bus/", "config.py", "daemon.py"),
    "kombu": ("bus/",),
    "grpc": ("host/containerd/", "local/"),
    "grpc_health": ("local/",),
    "google": ("host/containerd/", "local/"),
    "pyroute2": ("host/",),
    "cgroupspy": ("host/",),
    "psutil": ("host/",),
    "sqlite3": ("host/",),
    "urllib3": ("host/registry/",),
    "keystoneauth1": ("host/glance/",),
    "requests": ("host/glance/",),
    "zstandard": ("host/containerd/",),
    "cryptography": ("host/sealing.py",),
    "tomllib": ("host/registry/", "host/flavors.py"),
    "sdnotify": ("daemon.py",),
    "click": ("cli/",),
    "rich": ("cli/",),
    "asyncio": (),
}
#: Where everything that went wrong ends and is recorded.
CATCH_ALL_HOMES = (
    "lifecycle/pipeline.py",
    "lifecycle/converge.py",
    "bus/attempt.py",
    "bus/endpoint.py",
    "bus/server.py",
    "local/",
)
TOP_LEVEL = {
    "pyproject.toml", "README.md", "Makefile", "constraints.txt",
    "agent", "protos", "systemd", "tests", "bench",
}  # fmt: skip


@dataclass(frozen=True)
class Module:
    """One source file: its path below the package, and its text."""

    path: str
    text: str

    @property
    def room(self) -> str:
        return self.path.split("/")[0].removesuffix(".py")

    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and absolute name of what is imported, wherever in the file it is."""
        package = ["longshore", *self.path.split("/")[:-1]]
        for node in ast.walk(ast.parse(self.text)):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                prefix = ".".join([*base, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{prefix}.{name.name}") for name in node.names)

    def is_in(self, homes: Collection[str]) -> bool:
        return any(
            self.path.startswith(home) if home.endswith("/") else self.path == home
            for home in homes
        )


def rooms(module: Module) -> list[str]:
    """Our own modules: only from rooms that this one may know."""
    faults = []
    for line, name in module.imports():
        parts = name.split(".")
        if parts[0] != "longshore" or len(parts) < 2:
            continue
        target = parts[1] if parts[1] in ROOMS else "__init__"
        if target in ("errors", "__init__", "pb", module.room):
            continue
        if module.room == "cli" and name.startswith(CLI_CLIENTS):
            continue
        if target not in ROOMS.get(module.room, frozenset()):
            faults.append(f"{module.path}:{line} imports {name}")
    return faults


def known_room(module: Module) -> list[str]:
    """A new room is a decision: it comes with its line in ROOMS."""
    return [] if module.room in ROOMS else [f"{module.path} is in no room that ROOMS knows"]


def stubs(module: Module) -> list[str]:
    """Generated stubs stay at the two edges that speak gRPC."""
    return [
        f"{module.path}:{line} imports {name}"
        for line, name in module.imports()
        if (name + ".").startswith("longshore.pb.") and not module.is_in(STUB_HOMES)
    ]


def libraries(module: Module) -> list[str]:
    """A neighbour's library is known only at its edge."""
    return [
        f"{module.path}:{line} imports {name}"
        for line, name in module.imports()
        if (top := name.split(".")[0]) in LIBRARIES and not module.is_in(LIBRARIES[top])
    ]


def catches_all(module: Module) -> list[str]:
    """`except Exception`, `except BaseException` and a bare `except` have three homes.

    One that ends in a bare `raise` only tidies up on the way out, and catches nothing.
    """
    if module.is_in(CATCH_ALL_HOMES):
        return []
    return [
        f"{module.path}:{node.lineno} catches everything"
        for node in ast.walk(ast.parse(module.text))
        if isinstance(node, ast.ExceptHandler)
        and _is_everything(node.type)
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    ]


def _is_everything(caught: ast.expr | None) -> bool:
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))
        for kind in kinds
    )


def length(module: Module) -> list[str]:
    """Two theories in one file begin to show about here."""
    lines = module.text.count("\n")
    return [f"{module.path} has {lines} lines"] if lines >= MAX_LINES else []


def reasons(module: Module) -> list[str]:
    """An ignored lint or type says why: `# noqa: X - reason`, `# type: ignore[x]  # reason`."""
    faults = []
    for number, line in enumerate(module.text.splitlines(), 1):
        for mark in ("# noqa", "# type: ignore"):
            _, found, rest = line.partition(mark)
            if found and len(rest.split()) < 3:
                faults.append(f"{module.path}:{number} ignores without a reason")
    return faults


RULES: tuple[Callable[[Module], list[str]], ...] = (
    rooms,
    known_room,
    stubs,
    libraries,
    catches_all,
    length,
    reasons,
)


def modules() -> list[Module]:
    return [
        Module(path.relative_to(PACKAGE).as_posix(), path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "pb"
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Callable[[Module], list[str]]) -> None:
    found = modules()
    assert {"errors", "model", "lifecycle"} <= {module.room for module in found}
    assert [fault for module in found for fault in rule(module)] == []


BAD = (
    (rooms, "lifecycle/create.py", "from longshore.host.network import Network\n"),
    (rooms, "lifecycle/create.py", "from longshore import host\n"),
    (rooms, "lifecycle/steps/net.py", "from ...host import network\n"),
    (rooms, "model/spec.py", "import longshore.lifecycle.ports\n"),
    (rooms, "host/files.py", "def late():\n    from longshore.lifecycle import ports\n"),
    (rooms, "host/files.py", "from longshore.config import Options\n"),
    (rooms, "bus/endpoint.py", "from longshore.host.journal import Journal\n"),
    (rooms, "bus/endpoint.py", "from longshore.local import service\n"),
    (rooms, "cli/main.py", "from longshore.lifecycle.create import CREATE\n"),
    (rooms, "cli/main.py", "from longshore.local.service import Agent\n"),
    (rooms, "errors.py", "from longshore.model.spec import ContainerSpec\n"),
    (known_room, "utils/text.py", ""),
    (known_room, "manager.py", ""),
    (stubs, "host/network.py", "from longshore.pb.containerd import tasks_pb2\n"),
    (stubs, "lifecycle/create.py", "import longshore.pb\n"),
    (stubs, "cli/main.py", "from longshore import pb\n"),
    (libraries, "lifecycle/create.py", "import oslo_messaging\n"),
    (libraries, "host/journal.py", "from oslo_log import log\n"),
    (libraries, "host/network.py", "import grpc\n"),
    (libraries, "cli/main.py", "import grpc\n"),
    (libraries, "lifecycle/watch.py", "from pyroute2 import IPRoute\n"),
    (libraries, "lifecycle/watch.py", "import asyncio\n"),
    (libraries, "bus/server.py", "import asyncio.events\n"),
    (catches_all, "host/network.py", "try:\n    f()\nexcept Exception:\n    g()\n"),
    (catches_all, "host/network.py", "try:\n    f()\nexcept Exception as e:\n    raise E from e\n"),
    (catches_all, "lifecycle/create.py", "try:\n    f()\nexcept (OSError, Exception):\n    g()\n"),
    (catches_all, "cli/main.py", "try:\n    f()\nexcept:\n    g()\n"),
    (length, "host/network.py", "x = 1\n" * MAX_LINES),
    (reasons, "host/network.py", "f()  # no" + "qa: S603\n"),
    (reasons, "host/network.py", "f()  # type: " + "ignore[arg-type]\n"),
)  # fmt: skip


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_the_rule_can_fail(rule: Callable[[Module], list[str]], path: str, text: str) -> None:
    assert len(rule(Module(path, text))) == 1


GOOD = (
    ("daemon.py", "from longshore.wiring import Daemon\nimport sdnotify\n"),
    ("wiring.py", "from longshore.host.network import Network\n"),
    ("lifecycle/create.py", "from longshore.model.spec import Mount\nfrom . import pipeline\n"),
    ("lifecycle/pipeline.py", "try:\n    f()\nexcept Exception:\n    g()\n"),
    ("host/containerd/tasks.py", "import grpc\nfrom longshore.pb.containerd import tasks_pb2\n"),
    ("cli/main.py", "import click\nfrom longshore.local.client import LocalClient\n"),
    ("bus/server.py", "import oslo_messaging\nfrom longshore.lifecycle.service import Service\n"),
    ("host/network.py", "from longshore.errors import HostFailed\nfrom longshore import pb_x\n"),
    ("host/network.py", "try:\n    f()\nexcept BaseException:\n    g()\n    raise\n"),
    ("host/network.py", "f()  # no" + "qa: S603 - the path is a constant of ours\n"),
)  # fmt: skip


@pytest.mark.parametrize(("path", "text"), GOOD)
def test_no_rule_is_too_strict(path: str, text: str) -> None:
    assert [fault for rule in RULES for fault in rule(Module(path, text))] == []


def test_every_rule_is_shown_to_fail() -> None:
    assert {rule for rule, _, _ in BAD} == set(RULES)


def tracked() -> list[str]:
    """Files that git has, or would add: what a fresh clone will hold."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def generated(names: Collection[str]) -> list[str]:
    return [name for name in names if "_pb2" in name or "/pb/" in name]


def strangers_at_the_top(names: Collection[str]) -> set[str]:
    return {top for name in names if not (top := name.split("/")[0]).startswith(".")} - TOP_LEVEL


def test_generated_stubs_are_not_in_git() -> None:
    assert generated(tracked()) == []
    assert generated(["agent/longshore/pb/a.py", "x/y_pb2.pyi", "protos/a.proto"]) == [
        "agent/longshore/pb/a.py",
        "x/y_pb2.pyi",
    ]


def test_the_top_level_is_what_the_design_says() -> None:
    assert strangers_at_the_top(tracked()) == set()
    assert strangers_at_the_top(["setup.py", ".ci/run", "docs/x.md", "README.md"]) == {
        "setup.py",
        "docs",
    }
