"""What the demo prints: a heading for each step, facts below it, and how long each took."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from longshore.cli import units
from longshore.cli.output import Column, print_table


class Broken(Exception):
    """Something is not as promised."""


class Screen:
    """Prints, and remembers how long each step took."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, float, Mapping[str, float]]] = []
        self._parts: Mapping[str, float] = {}
        self._bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.heading(f"{len(self._steps) + 1}. {title}")
        self._parts = {}
        began = time.perf_counter()
        yield
        self._steps.append((title, time.perf_counter() - began, self._parts))

    def parts(self, seconds: Mapping[str, float]) -> None:
        """What the present step was made of."""
        self._parts = dict(seconds)

    def heading(self, text: str) -> None:
        print(f"\n\033[1m{text}\033[0m" if self._bold else f"\n== {text}", flush=True)

    def say(self, text: str) -> None:
        print(text.rstrip("\n"), flush=True)

    def holds(self, what: str, true: object, otherwise: object = "") -> None:
        """Shows what was checked, or raises Broken with what is there instead."""
        if not true:
            raise Broken(f"not so: {what}" + (f"; instead: {otherwise}" if otherwise else ""))
        self.say(f"ok: {what}")

    def durations(self) -> None:
        self.heading("How long each step took")
        rows = []
        for name, seconds, parts in self._steps:
            rows.append((name, units.brief(seconds)))
            rows += [(f"    {part}", units.brief(took)) for part, took in parts.items()]
        together = sum(seconds for _, seconds, _ in self._steps)
        print_table(
            (Column("STEP"), Column("TOOK", right=True)),
            [*rows, ("together", units.brief(together))],
        )
