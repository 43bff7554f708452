"""What a scheduler imports.

    with ComputeClient("rabbit://user:password@broker:5672/") as nodes:
        status = nodes.create("node-7", {"id": str(uuid4()), "name": "web", "image": "web:1"})
        print(status.state, status.nics[0].address)
        nodes.delete("node-7", status.id, force=True)

Every verb is asked again, under the same request id, until the agent has answered or the
deadline has passed. A request id that the caller keeps makes it safe to go on asking after
that, also from another process: the agent answers with what came of the first.

What a caller sees when there is no answer:

- NodeUnreachable at once: no agent has listened under that name since the broker's start. It is
  worth another try in the ten seconds after a restart of the broker. An agent that is down or
  restarting keeps its queue on the broker: it is asked until the deadline.
- BrokerUnavailable at the deadline: no broker answered. With `details['sent']` true one had the
  message before it went away, so that the outcome is unknown.
- DeadlineExceeded: the outcome is unknown. `details['request_id']` is what to ask again with.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from oslo_config import cfg

from longshore.bus.asking import Asking
from longshore.bus.copy_client import CopyVerbs
from longshore.bus.exec_client import ExecVerbs
from longshore.bus.image_client import ImageVerbs, all_of, credential_of, one_of
from longshore.bus.log_client import LogVerbs
from longshore.bus.operation_client import OperationVerbs
from longshore.bus.stats_client import StatsVerbs
from longshore.bus.story_client import StoryVerbs
from longshore.bus.transport import open_bus
from longshore.bus.upkeep_client import UpkeepVerbs
from longshore.bus.version_client import VersionVerbs
from longshore.bus.volume_client import VolumeVerbs
from longshore.model.injected import REVEAL
from longshore.model.spec import ContainerSpec
from longshore.model.status import ContainerStatus, FitsStatus, FlavorStatus, NodeStatus
from longshore.model.transfer import Credential

#: Our defaults for [oslo_messaging_rabbit]: seconds before a lost connection is made anew. One
#: question at a time does that here, and not all agents of a cloud at once.
_RABBIT = {"kombu_reconnect_delay": 0.1, "rabbit_interval_max": 3}


class ComputeClient(
    CopyVerbs,
    ExecVerbs,
    ImageVerbs,
    LogVerbs,
    OperationVerbs,
    StatsVerbs,
    StoryVerbs,
    UpkeepVerbs,
    VersionVerbs,
    VolumeVerbs,
):
    """Verbs of all nodes. Thread-safe; one for a process is enough.

    Args:
        transport_url: None: that of `conf`.
        conf: options of oslo.messaging (TLS, heartbeats); None: its defaults.
        timeout: default deadline of a verb, in seconds.
        silence: an agent that has not said for so many seconds that it is at work is taken for
            dead, and asked again. At least 2.
        origin: who asks, for the agents' logs; None: this host and process.

    Raises:
        InvalidRequest: the transport URL is none.
    """

    def __init__(
        self,
        transport_url: str | None = None,
        *,
        conf: cfg.ConfigOpts | None = None,
        timeout: float = 60.0,
        silence: int = 5,
        origin: str | None = None,
    ) -> None:
        self._timeout = timeout
        bus = open_bus(conf or cfg.ConfigOpts(), transport_url, _RABBIT)
        context = {"origin": origin or f"{socket.gethostname()}:{os.getpid()}"}
        self._asking = Asking(bus, max(2, silence), context)

    def create(
        self,
        node: str,
        spec: ContainerSpec | Mapping[str, Any],
        *,
        start: bool = True,
        credential: Credential | None = None,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """Creates a container, and starts it. Its image is pulled as `spec.pull` says.

        Args:
            credential: for the image's registry; the agent keeps it in memory, no longer than
                it needs it. Send it with each repetition of the request.
            wait: `accepted` returns once the intent is journalled; None (or `running`, or
                `created` with start=False) once it is carried out.
            request_id: a uuid; None: a new one.
            generation: orders the intents for one container; None: one more than the last.
            deadline: seconds; None: the client's `timeout`.
        """
        message: dict[str, Any] = {"spec": _whole(spec), "start": start}
        if credential is not None:
            message["credential"] = credential_of(credential)
        return self._change(node, "create", message, wait, request_id, generation, deadline)

    def start(
        self,
        node: str,
        ref: str,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """`ref`: a container's id, name, or an unambiguous beginning of its id."""
        message = {"ref": ref}
        return self._change(node, "start", message, wait, request_id, generation, deadline)

    def stop(
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
        """`grace` seconds between the stop signal and SIGKILL; None: the spec's."""
        message = {"ref": ref, "grace": grace}
        return self._change(node, "stop", message, wait, request_id, generation, deadline)

    def delete(
        self,
        node: str,
        ref: str,
        *,
        force: bool = False,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """`force`: also while it runs."""
        message = {"ref": ref, "force": force}
        return self._change(node, "delete", message, wait, request_id, generation, deadline)

    def show(self, node: str, ref: str, *, deadline: float | None = None) -> ContainerStatus:
        return one_of(ContainerStatus, self._ask(node, "show", {"ref": ref}, deadline))

    def fits(
        self,
        node: str,
        spec: ContainerSpec | Mapping[str, Any],
        *,
        deadline: float | None = None,
    ) -> FitsStatus:
        """Whether the node would take it now, and if not why, and what it has too little of."""
        return one_of(FitsStatus, self._ask(node, "fits", {"spec": _whole(spec)}, deadline))

    def list_flavors(self, node: str, *, deadline: float | None = None) -> Sequence[FlavorStatus]:
        """Those that a spec may name on that node, by name."""
        return all_of(FlavorStatus, self._ask(node, "list_flavors", {}, deadline))

    def node_status(self, node: str, *, deadline: float | None = None) -> NodeStatus:
        return one_of(NodeStatus, self._ask(node, "node_status", {}, deadline))

    def close(self) -> None:
        """Ends the connections; a broker that is not there is waited for a few seconds."""
        self._asking.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _change(
        self,
        node: str,
        verb: str,
        message: Mapping[str, Any],
        wait: str | None,
        request_id: str | None,
        generation: int | None,
        deadline: float | None,
    ) -> ContainerStatus:
        intent = {
            **message,
            "request_id": request_id or str(uuid4()),
            "generation": generation,
            "wait": wait,
        }
        return one_of(ContainerStatus, self._ask(node, verb, intent, deadline))

    def _ask(self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None) -> Any:
        return self._asking.ask(
            node, verb, message, self._timeout if deadline is None else deadline
        )


def _whole(spec: ContainerSpec | Mapping[str, Any]) -> dict[str, Any]:
    """With the values of its secrets, and only what was asked for."""
    if not isinstance(spec, ContainerSpec):
        return dict(spec)
    return spec.model_dump(mode="json", context=REVEAL, exclude_unset=True)
