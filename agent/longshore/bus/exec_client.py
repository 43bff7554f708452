"""Commands in containers, as a scheduler has them run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from longshore.bus.image_client import one_of
from longshore.model.exec_messages import OUTPUT, TIMEOUT
from longshore.model.status import ExecStatus

#: Seconds beside its own time that the answer to a command may take.
_MORE = 30.0


class ExecVerbs(ABC):
    """The part of ComputeClient that concerns commands."""

    def execute(
        self,
        node: str,
        ref: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        privileged: bool = False,
        timeout: float = TIMEOUT,
        output_max: int = OUTPUT,
        request_id: str | None = None,
        deadline: float | None = None,
    ) -> ExecStatus:
        """Runs it to its end, in a container that runs; no shell is between.

        Args:
            timeout: seconds until it is killed.
            output_max: bytes of each output that are kept.
            request_id: a uuid; None: a new one. The same one again is answered, and not run again.
            deadline: seconds; None: the timeout and a little more.

        Raises:
            IllegalTransition: it does not run.
            Conflict: the agent died in the middle, and nobody knows more.
            CommandNotFound, StartFailed: it cannot be run.
        """
        message = {
            "request_id": request_id or str(uuid4()),
            "ref": ref,
            "command": list(command),
            "env": dict(env or {}),
            "privileged": privileged,
            "timeout": float(timeout),
            "output_max": output_max,
            **({"workdir": workdir} if workdir is not None else {}),
            **({"user": user} if user is not None else {}),
        }
        wait = timeout + _MORE if deadline is None else deadline
        return one_of(ExecStatus, self._ask(node, "execute", message, wait))

    @abstractmethod
    def _ask(
        self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None
    ) -> Any: ...
