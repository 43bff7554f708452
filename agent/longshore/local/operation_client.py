"""The verbs that operate a container, as a program on the node calls them."""

from __future__ import annotations

from typing import Protocol

from longshore.local.answers import container_of, intent_of
from longshore.local.calls import Calls
from longshore.local.image_client import message
from longshore.model.status import ContainerStatus
from longshore.pb.longshore.v1 import agent_pb2


class _Client(Protocol):
    """What LocalClient has, and these verbs call with."""

    _calls: Calls

    def _by(self, patience: float = 0) -> float: ...

    def show(self, ref: str) -> ContainerStatus: ...


class OperationVerbs:
    """The part of LocalClient that operates containers."""

    def restart(
        self: _Client,
        ref: str,
        *,
        grace: float | None = None,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """Ends its process as `stop` does, if it runs, and starts it again."""
        if grace is None and wait is None:
            patience = float(self.show(ref).spec.get("stop_grace", 0))
        else:
            patience = grace or 0
        request = message(
            agent_pb2.RestartRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
            grace=grace,
        )
        by = self._by(patience)
        return container_of(self._calls.change("Restart", f"restart {ref}", request, by))

    def kill(
        self: _Client,
        ref: str,
        *,
        signal: str = "SIGKILL",
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """Sends a signal (a name, or a number) to its first process.

        One killed by SIGKILL stays stopped, and this returns once it is; what another signal leads
        to is its restart policy's to say.
        """
        request = message(
            agent_pb2.KillRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
            signal=signal,
        )
        by = self._by()
        return container_of(self._calls.change("Kill", f"kill {ref}", request, by))

    def pause(
        self: _Client,
        ref: str,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """Freezes its processes."""
        request = message(
            agent_pb2.PauseRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
        )
        by = self._by()
        return container_of(self._calls.change("Pause", f"pause {ref}", request, by))

    def unpause(
        self: _Client,
        ref: str,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """Lets them go on."""
        request = message(
            agent_pb2.UnpauseRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
        )
        by = self._by()
        return container_of(self._calls.change("Unpause", f"unpause {ref}", request, by))

    def rename(
        self: _Client,
        ref: str,
        name: str,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """Gives it another name. Raises NameInUse."""
        request = message(
            agent_pb2.RenameRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
            name=name,
        )
        by = self._by()
        return container_of(self._calls.change("Rename", f"rename {ref}", request, by))
