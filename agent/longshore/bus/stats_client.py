"""What containers use, as a scheduler asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from longshore.bus.image_client import all_of
from longshore.model.status import ContainerStats, ProcessStatus


class StatsVerbs(ABC):
    """The part of ComputeClient that tells what containers use. `deadline`: seconds; None: the
    client's."""

    def stats(
        self, node: str, refs: Sequence[str] = (), *, deadline: float | None = None
    ) -> Sequence[ContainerStats]:
        """Of those of `refs` that run, in their order; of all that run, by name, if it is empty.

        IllegalTransition if one alone is asked for and does not run. `cpu.cores` is since the
        reading before, whoever asked for it.
        """
        return all_of(ContainerStats, self._ask(node, "stats", {"refs": list(refs)}, deadline))

    def top(self, node: str, ref: str, *, deadline: float | None = None) -> Sequence[ProcessStatus]:
        """Its processes, by pid. IllegalTransition when it does not run."""
        return all_of(ProcessStatus, self._ask(node, "top", {"ref": ref}, deadline))

    @abstractmethod
    def _ask(
        self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None
    ) -> Any: ...
