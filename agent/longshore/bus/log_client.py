"""The verb of containers' logs, as a scheduler calls it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from longshore.bus.image_client import one_of
from longshore.model.log_messages import BYTES, TAIL
from longshore.model.status import LogsStatus


class LogVerbs(ABC):
    """The part of ComputeClient that concerns logs. `deadline`: seconds; None: the client's."""

    def logs(
        self,
        node: str,
        ref: str,
        *,
        tail: int = TAIL,
        since: float | None = None,
        until: float | None = None,
        stream: str | None = None,
        max_bytes: int = BYTES,
        deadline: float | None = None,
    ) -> LogsStatus:
        """The last `tail` lines, of stdout and stderr together, and of these no more than
        `max_bytes`.

        Args:
            since, until: Unix seconds; a line is of the time at which its end was written.
            stream: only `stdout` or `stderr`.
        """
        message = {"ref": ref, "tail": tail, "max_bytes": max_bytes}
        chosen = {"since": since, "until": until, "stream": stream}
        message |= {key: value for key, value in chosen.items() if value is not None}
        return one_of(LogsStatus, self._ask(node, "logs", message, deadline))

    @abstractmethod
    def _ask(
        self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None
    ) -> Any: ...
