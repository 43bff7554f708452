"""The verbs that operate a container, as a scheduler calls them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from longshore.model.status import ContainerStatus


class OperationVerbs(ABC):
    """The part of ComputeClient that operates containers; arguments as of its `start`."""

    def restart(
        self,
        node: str,
        ref: str,
        *,
        grace: float | None = None,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """Ends its process as `stop` does, if it runs, and starts it again."""
        message = {"ref": ref, "grace": grace}
        return self._change(node, "restart", message, wait, request_id, generation, deadline)

    def kill(
        self,
        node: str,
        ref: str,
        *,
        signal: str = "SIGKILL",
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """Sends a signal (a name, or a number) to its first process.

        One killed by SIGKILL stays stopped, and this returns once it is; what another signal leads
        to is its restart policy's to say.
        """
        message = {"ref": ref, "signal": signal}
        return self._change(node, "kill", message, wait, request_id, generation, deadline)

    def pause(
        self,
        node: str,
        ref: str,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """Freezes its processes."""
        message = {"ref": ref}
        return self._change(node, "pause", message, wait, request_id, generation, deadline)

    def unpause(
        self,
        node: str,
        ref: str,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """Lets them go on."""
        message = {"ref": ref}
        return self._change(node, "unpause", message, wait, request_id, generation, deadline)

    def rename(
        self,
        node: str,
        ref: str,
        name: str,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """Gives it another name. Raises NameInUse."""
        message = {"ref": ref, "name": name}
        return self._change(node, "rename", message, wait, request_id, generation, deadline)

    @abstractmethod
    def _change(
        self,
        node: str,
        verb: str,
        message: Mapping[str, Any],
        wait: str | None,
        request_id: str | None,
        generation: int | None,
        deadline: float | None,
    ) -> ContainerStatus: ...
