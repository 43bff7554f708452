"""What containers use, as a program on the node asks for it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Protocol

from longshore.local import convert
from longshore.local.calls import Calls
from longshore.local.image_client import message
from longshore.model.status import ContainerStats, ProcessStatus
from longshore.pb.longshore.v1 import agent_pb2

_WHAT = "read the stats"


class _Client(Protocol):
    """What LocalClient has, and these verbs call with."""

    _calls: Calls
    _timeout: float

    def _by(self, patience: float = 0) -> float: ...


class StatsVerbs:
    """The part of LocalClient that tells what containers use."""

    def stats(self: _Client, refs: Sequence[str] = ()) -> Sequence[ContainerStats]:
        """Of those of `refs` that run, in their order; of all that run, by name, if it is empty.

        IllegalTransition if one alone is asked for and does not run. `cpu.cores` is since the
        reading before, whoever asked for it.
        """
        request = message(agent_pb2.StatsRequest, refs=refs)
        left = self._timeout
        found = self._calls.follow("Stats", _WHAT, request, left, resumes=False, within=left)
        return [one for reply in found for one in _stats(reply)]

    def follow_stats(
        self: _Client, refs: Sequence[str] = (), interval: float = 1.0
    ) -> Generator[Sequence[ContainerStats], None, None]:
        """A reading every `interval` seconds (0.25 to 3600), until the caller closes the iterator.

        The first raises as `stats` does; later ones leave out who has ended. It goes on when the
        agent is back within the timeout.
        """
        request = message(agent_pb2.StatsRequest, refs=refs, interval=interval)
        found = self._calls.follow("Stats", _WHAT, request, self._timeout, resumes=True)
        with closing(found):
            for reply in found:
                yield _stats(reply)

    def top(self: _Client, ref: str) -> Sequence[ProcessStatus]:
        """Its processes, by pid. IllegalTransition when it does not run."""
        request = message(agent_pb2.ShowRequest, ref=ref)
        what = f"list the processes of {ref}"
        reply = self._calls.ask("Top", what, request, self._by())
        return [ProcessStatus.model_validate(convert.to_dict(one)) for one in reply.processes]


def _stats(reply: Any) -> Sequence[ContainerStats]:
    return [ContainerStats.model_validate(convert.to_dict(one)) for one in reply.containers]
