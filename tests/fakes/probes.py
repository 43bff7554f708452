"""Servers in memory that are well or not on order; tests/contract has them beside real ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from fakes.host import FakeNetwork
from longshore.errors import LongshoreError, NotFound
from longshore.model.probing import Where

#: Seconds that a probe hangs at most: longer than any test should take.
_HELD = 20.0


@dataclass
class FakeProbes:
    """`listening`: id → ports, each with what it says and whether that is well. `asked` has the id
    of each probe; `meanwhile` is called in each, `hangs` holds up those of its ids until `free`."""

    network: FakeNetwork
    listening: dict[str, dict[int, tuple[bool, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    hangs: set[str] = field(default_factory=set)
    free: threading.Event = field(default_factory=threading.Event)
    error: LongshoreError | None = None

    def http(
        self, where: Where, port: int, path: str, *, tls: bool, timeout: float
    ) -> tuple[bool, str]:
        return self._answer(where, port)

    def tcp(self, where: Where, port: int, *, timeout: float) -> tuple[bool, str]:
        return self._answer(where, port)

    def _answer(self, where: Where, port: int) -> tuple[bool, str]:
        id = where.names.id
        self.asked.append(id)
        self.meanwhile()
        if id in self.hangs:
            self.free.wait(_HELD)
        if self.error is not None:
            raise self.error
        if not where.shared and id not in self.network.attached:
            raise NotFound(f"cannot probe container {id}: its network is gone", object=id)
        return self.listening.get(id, {}).get(port, (False, "nobody listens"))
