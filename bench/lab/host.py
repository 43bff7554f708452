"""What of ours is left on this host: the audit after a demo, a test, a crash.

Several agents and test runs share a host, so every question names what is meant: folders,
bridges, nft tables, container ids. What containerd holds, `PrivateContainerd.leftovers` tells.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lab import mounts, process
from bench.lab.containerd import RUNTIME_STATE

_CGROUP = Path("/sys/fs/cgroup")
_NET = Path("/sys/class/net")
_VETH = re.compile(r"lsh[0-9a-f]{12}")


@dataclass(frozen=True)
class Scope:
    """Where one agent (or one test run) may have left something.

    Args:
        folders: its state and run folders, and those of its private neighbours.
        bridges: names of bridges that must be gone; interfaces on them count too.
        tables: nft tables that must be gone, in any family.
        ids: container ids whose veths, cgroups and runtime state are looked for; None: everybody's.
        cgroups: cgroup parents that must be gone.
    """

    folders: Collection[Path] = ()
    bridges: Collection[str] = ()
    tables: Collection[str] = ()
    ids: Collection[str] | None = None
    cgroups: Collection[str] = ()


def audit(scope: Scope) -> list[str]:
    """One line for each thing found; empty: the host is clean."""
    return [
        *_processes(scope),
        *_mounts(scope),
        *_namespaces(scope),
        *_interfaces(scope),
        *_tables(scope),
        *_cgroups(scope),
        *_runtime(scope),
    ]


def elements(table: str) -> list[str]:
    """Elements of the sets and maps of an nft table in any family, one line each."""
    return _elements(_ruleset(), table)


def remove_empty_cgroups(parent: str = "longshore") -> None:
    """Removes the cgroup that holds all of ours, under each controller, where nothing is in it.

    For the end of a demo on a host of one's own: a container that another agent starts at this
    very moment would miss its parent.
    """
    for folder in _trees(parent):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _processes(scope: Scope) -> Iterator[str]:
    """Also a process whose argv does not tell: by its executable's, root's and working folder."""
    mine, folders = {os.getpid(), os.getppid()}, [str(folder) for folder in scope.folders]
    for one in process.processes():
        if one.pid in mine:
            continue
        words = one.command
        places = [_link(f"/proc/{one.pid}/{name}") for name in ("cwd", "root", "exe")]
        texts = [*words, *places]
        # Whether it is alive is asked of these few alone.
        if any(_within(text, folder) for folder in folders for text in texts) and one.alive:
            yield f"process {one.pid}: {' '.join(words)[:160]}"


def _mounts(scope: Scope) -> Iterator[str]:
    for folder in scope.folders:
        for mount in mounts.beneath(folder.resolve()):
            yield f"mount {mount.point} ({mount.kind})"


def _namespaces(scope: Scope) -> Iterator[str]:
    for folder in scope.folders:
        for path in sorted(folder.glob("**/netns/*")):
            yield f"netns {path}"


def _interfaces(scope: Scope) -> Iterator[str]:
    tails = None if scope.ids is None else {one.replace("-", "")[-12:] for one in scope.ids}
    for path in sorted(_NET.iterdir()):
        master = Path(_link(path / "master")).name
        is_ours = _VETH.fullmatch(path.name) and (tails is None or path.name[3:] in tails)
        if path.name in scope.bridges or master in scope.bridges or is_ours:
            yield f"interface {path.name}" + (f" on {master}" if master else "")


def _tables(scope: Scope) -> Iterator[str]:
    ruleset = _ruleset() if scope.tables else []
    for table in scope.tables:
        for entry in ruleset:
            if "table" in entry and entry["table"]["name"] == table:
                yield f"nft table {entry['table']['family']} {table}"
        yield from _elements(ruleset, table)


def _cgroups(scope: Scope) -> Iterator[str]:
    """v1, hybrid and v2, made by the runtime itself or as systemd scopes."""
    for parent in (*_trees("longshore"), *_trees("longshore.slice")):
        for path in sorted(_below(parent)):
            if scope.ids is None or any(one in path.name for one in scope.ids):
                yield f"cgroup {path}"
    for name in scope.cgroups:
        for parent in (*_trees(name), *_trees(f"{name}.slice")):
            yield from (f"cgroup {path}" for path in [parent, *_below(parent)])


def _runtime(scope: Scope) -> Iterator[str]:
    for path in sorted(RUNTIME_STATE.glob("*/*")):
        if scope.ids is None or path.name in scope.ids:
            yield f"runtime state {path}"


def _trees(name: str) -> list[Path]:
    return [path for path in (_CGROUP / name, *sorted(_CGROUP.glob(f"*/{name}"))) if path.is_dir()]


def _below(folder: Path) -> list[Path]:
    """All folders in it; another's may vanish meanwhile, which `rglob` would not bear."""
    return [Path(place, name) for place, names, _ in os.walk(folder) for name in names]


def _ruleset() -> list[dict[str, dict[str, Any]]]:
    """All that nft has on this host, by a single call of it."""
    done = subprocess.run(
        ["nft", "--json", "list", "ruleset"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    listed: list[dict[str, dict[str, Any]]] = json.loads(done.stdout)["nftables"]
    return listed


def _elements(ruleset: list[dict[str, dict[str, Any]]], table: str) -> list[str]:
    found = []
    for entry in ruleset:
        for kind in ("set", "map"):
            if kind in entry and entry[kind]["table"] == table:
                owner = f"nft {entry[kind]['family']} {table} {entry[kind]['name']}"
                found += [f"{owner}: {json.dumps(one)}" for one in entry[kind].get("elem", [])]
    return found


def _within(text: str, folder: str) -> bool:
    """Whether a word of argv (`/x/y`, `--config=/x/y`, `unix:///x/y`) names the folder."""
    return folder in text and re.search(re.escape(folder) + r"(/|$)", text) is not None


def _link(path: str | Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
