"""One agent on real neighbours, and the question what it has left on the host."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bench.lab import host
from bench.lab.agent import PrivateAgent
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import busybox_archive
from fields.proofs import note
from longshore.errors import LongshoreError
from longshore.local.client import LocalClient
from longshore.model.status import ConvergeStatus

T = TypeVar("T")
_numbers = itertools.count(1)


@dataclass
class Lab:
    """`ids`: every container that `spec` was asked for; all of them are looked for at the end."""

    containerd: PrivateContainerd
    agent: PrivateAgent
    namespace: str
    client: LocalClient
    ids: list[str] = field(default_factory=list)

    def spec(self, **changes: Any) -> dict[str, Any]:
        """A container that serves a page; name and id are new ones."""
        id = changes.setdefault("id", str(uuid.uuid4()))
        self.ids.append(id)
        spec = {"name": f"c{next(_numbers)}", "image": "busybox:latest", **changes}
        note(spec)
        return spec

    def volume(self, name: str) -> Path:
        """An empty folder beneath the agent's allowed root."""
        folder = self.agent.volumes / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def left(self) -> list[str]:
        """What there is of containers on the host and in the journal, one line each."""
        return [
            *(line for line in self._audit() if not self._belongs_to_agent(line)),
            *(f"containerd: {line}" for line in self.containerd.leftovers(self.namespace)),
            *(f"shim {one.pid}" for one in self.containerd.shims() if self._is_ours(one.command)),
            *(f"file {path}" for path in self._files()),
            *self._journal(),
        ]

    def wait_clean(self, seconds: float = 10.0) -> None:
        """The kernel removes the interfaces of a dropped namespace when it gets round to it."""
        end = time.monotonic() + seconds
        while left := self.left():
            assert time.monotonic() < end, f"left over: {left}"
            time.sleep(0.05)

    def tick(self) -> tuple[str, ...]:
        """The findings of a pass over the node that began after the call."""
        called = time.time()
        os.kill(self.agent.pid, signal.SIGHUP)

        def passed() -> ConvergeStatus | None:
            last = self.client.node_status().converge
            return last if last.at is not None and last.at - last.seconds > called else None

        return until(passed).findings

    def delete_all(self) -> None:
        for container in self.client.list():
            self.client.delete(container.id, force=True)

    def _audit(self) -> list[str]:
        scope = self.agent.scope
        return host.audit(
            host.Scope(scope.folders, scope.bridges, scope.tables, self.ids, scope.cgroups)
        )

    def _belongs_to_agent(self, line: str) -> bool:
        """What stays for the next container: shared by all, and removed with the agent."""
        running = self.agent.running()
        return (
            (running is not None and line.startswith(f"process {running.pid}:"))
            or line == f"interface {self.agent.bridge}"
            or re.fullmatch(rf"nft table \w+ {self.agent.table}", line) is not None
            or (line.startswith("cgroup ") and line.endswith(f"/{self.agent.cgroup}"))
            or (line.startswith("cgroup ") and line.endswith(f"/{self.agent.cgroup}.slice"))
        )

    def _is_ours(self, command: Sequence[str]) -> bool:
        return self.namespace in command

    def _files(self) -> Iterator[Path]:
        for folder in (
            self.agent.run_dir / "volumes",
            self.agent.run_dir / "netns",
            self.agent.run_dir / "userns",
            self.agent.run_dir / "injected",
            self.agent.state_dir / "containers",
            self.agent.state_dir / "spool",
        ):
            yield from sorted(folder.iterdir())

    def _journal(self) -> list[str]:
        """Read by SQLite itself: the agent may be down, or lie."""
        address = f"file:{self.agent.state_dir / 'journal.sqlite'}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=5.0)) as database:
            records = database.execute("SELECT id FROM records").fetchall()
            claims = database.execute("SELECT kind, key, container FROM claims").fetchall()
            promises = database.execute(
                "SELECT resource, amount, container FROM promises"
            ).fetchall()
            versions = database.execute("SELECT container, number FROM versions").fetchall()
            unanswered = database.execute(
                "SELECT verb, container FROM requests WHERE outcome IS NULL"
            ).fetchall()
        return [
            *(f"record of {id}" for (id,) in records),
            *(f"claim of {id}: {kind} {key}" for kind, key, id in claims),
            *(f"promise to {id}: {amount} {resource}" for resource, amount, id in promises),
            *(f"version {number} of {id}" for id, number in versions),
            *(f"unanswered {verb} of {id}" for verb, id in unanswered),
        ]


@contextmanager
def running_lab(
    containerd: PrivateContainerd,
    name: str,
    url: str | None = None,
    *,
    options: Mapping[str, object] | None = None,
    program: Sequence[str | Path] = ("-m", "longshore.daemon"),
) -> Iterator[Lab]:
    """An agent in a namespace of its own, with busybox:latest loaded; all of it gone at the end."""
    # Other agents on this host publish ports too, and no bind shows that: a range of one's own.
    first = 10000 + uuid.uuid4().int % 200 * 100
    agent = PrivateAgent(
        containerd.folder / name,
        containerd.socket,
        url,
        options={
            "containerd.namespace": name,
            "network.port_min": first,
            "network.port_max": first + 99,
            **(options or {}),
        },
        program=program,
    )
    with LocalClient(agent.socket) as client:
        try:
            with agent:
                lab = Lab(containerd, agent, name, client)
                load(lab)
                yield lab
                lab.delete_all()
        finally:
            agent.forget()
    assert host.audit(agent.scope) == []


def load(lab: Lab) -> None:
    with busybox_archive(lab.agent.archives / "busybox.tar").open("rb") as file:
        lab.client.load_image(file)


def until(done: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Waits for a state that has no event of its own, and returns what `done` then says.

    Raises:
        AssertionError: it did not come.
    """
    end = time.monotonic() + seconds
    while not (value := done()):
        assert time.monotonic() < end, f"not within {seconds} s: {value!r}"
        time.sleep(0.02)
    return value


def states(lab: Lab) -> list[tuple[str, str]]:
    """The agent's neighbours and their states."""
    return [(one.name, one.state) for one in lab.client.node_status().neighbours]


def code_of(call: Callable[[], object]) -> str:
    """The code of the error that the call raises, '' if it raises none."""
    try:
        call()
    except LongshoreError as error:
        return error.code
    return ""


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of the host that no process has."""
    with socket.socket(socket.AF_INET, kind) as wire:
        wire.bind(("0.0.0.0", 0))
        return int(wire.getsockname()[1])
