"""The verbs on this node, as Python: what the command line uses, and any program on the node."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from longshore.local import convert
from longshore.local.answers import container_of, intent_of
from longshore.local.attachment import Attachment
from longshore.local.calls import Calls
from longshore.local.copy_client import CopyVerbs
from longshore.local.exec_client import ExecVerbs
from longshore.local.image_client import ImageVerbs, credential_of, message
from longshore.local.operation_client import OperationVerbs
from longshore.local.stats_client import StatsVerbs
from longshore.local.story_client import StoryVerbs
from longshore.local.streams import Stream
from longshore.local.upkeep_client import UpkeepVerbs
from longshore.local.version_client import VersionVerbs
from longshore.local.volume_client import VolumeVerbs
from longshore.model import spec as specs
from longshore.model.injected import REVEAL
from longshore.model.spec import ContainerSpec
from longshore.model.status import (
    ContainerStatus,
    FitsStatus,
    FlavorStatus,
    LogChunk,
    NodeStatus,
)
from longshore.model.transfer import Credential
from longshore.pb.longshore.v1 import agent_pb2

__all__ = ["Attachment", "LocalClient", "Stream"]


class LocalClient(
    CopyVerbs,
    ExecVerbs,
    ImageVerbs,
    OperationVerbs,
    StatsVerbs,
    StoryVerbs,
    UpkeepVerbs,
    VersionVerbs,
    VolumeVerbs,
):
    """Speaks to the agent at `socket`. Each call ends within `timeout` seconds.

    A verb that changes something makes a request id (unless given one) and asks again under it
    when the connection breaks, so that it happens once. An agent that has no room is asked again
    until the timeout. Thread-safe; close it, or use `with`.

    All methods raise longshore.errors: what the agent said, HostUnavailable when no agent
    answers, and DeadlineExceeded, with `details["request_id"]`, when the outcome is not known.
    `ref` is a container's id, its name, or an unambiguous beginning of its id.
    """

    def __init__(self, socket: Path, timeout: float = 60.0) -> None:
        super().__init__(Calls(socket), timeout)

    def __enter__(self) -> LocalClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._calls.close()

    def create(
        self,
        spec: ContainerSpec | Mapping[str, Any],
        *,
        start: bool = True,
        credential: Credential | None = None,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """`wait`: `accepted` to return once the agent has promised it.

        `credential`: for the image's registry; the agent keeps it in memory, no longer than it
        needs it.
        """
        wanted = spec if isinstance(spec, ContainerSpec) else specs.parse(spec)
        request = message(
            agent_pb2.CreateRequest,
            intent=intent_of(request_id, generation, wait),
            spec=_spec(wanted),
            start=start,
            credential=credential_of(credential),
        )
        return container_of(
            self._calls.change("Create", f"create {wanted.name}", request, self._by())
        )

    def start(
        self,
        ref: str,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        request = message(
            agent_pb2.StartRequest, intent=intent_of(request_id, generation, wait), ref=ref
        )
        return container_of(self._calls.change("Start", f"start {ref}", request, self._by()))

    def stop(
        self,
        ref: str,
        *,
        grace: float | None = None,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """`grace`: seconds until SIGKILL, None: the spec's; it is waited for beside the timeout."""
        if grace is None and wait is None:
            patience = float(self.show(ref).spec.get("stop_grace", 0))
        else:
            patience = grace or 0
        request = message(
            agent_pb2.StopRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
            grace=grace,
        )
        return container_of(self._calls.change("Stop", f"stop {ref}", request, self._by(patience)))

    def delete(
        self,
        ref: str,
        *,
        force: bool = False,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """Its last status. `force`: also while it runs."""
        request = message(
            agent_pb2.DeleteRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
            force=force,
        )
        return container_of(self._calls.change("Delete", f"delete {ref}", request, self._by()))

    def show(self, ref: str) -> ContainerStatus:
        request = message(agent_pb2.ShowRequest, ref=ref)
        return container_of(self._calls.ask("Show", f"show {ref}", request, self._by()))

    def fits(self, spec: ContainerSpec | Mapping[str, Any]) -> FitsStatus:
        """Whether the node would take it now, and if not why, and what it has too little of."""
        wanted = spec if isinstance(spec, ContainerSpec) else specs.parse(spec)
        request = message(agent_pb2.FitsRequest, spec=_spec(wanted))
        reply = self._calls.ask("Fits", f"tell whether {wanted.name} fits", request, self._by())
        return FitsStatus.model_validate(convert.to_dict(reply))

    def list_flavors(self) -> Sequence[FlavorStatus]:
        """Those that a spec may name here, by name."""
        request = agent_pb2.ListFlavorsRequest()
        reply = self._calls.ask("ListFlavors", "list flavors", request, self._by())
        return [FlavorStatus.model_validate(convert.to_dict(one)) for one in reply.flavors]

    def node_status(self) -> NodeStatus:
        request = agent_pb2.NodeStatusRequest()
        reply = self._calls.ask("NodeStatus", "show the node", request, self._by())
        return NodeStatus.model_validate(convert.to_dict(reply))

    def logs(
        self,
        ref: str,
        *,
        tail: int | None = None,
        follow: bool = False,
        since: float | None = None,
        until: float | None = None,
        timestamps: bool = False,
        stream: str | None = None,
    ) -> Generator[LogChunk, None, None]:
        """What it wrote; with `follow` until it has ended or the caller closes the iterator.

        Args:
            tail: begin with so many lines of each of stdout and stderr; None: all.
            since, until: Unix seconds; a line is of the time at which its end was written.
            timestamps: whole lines, each piece with its time.
            stream: only `stdout` or `stderr`.
        """
        request = message(
            agent_pb2.LogsRequest,
            ref=ref,
            tail=tail,
            follow=follow,
            since=since,
            until=until,
            timestamps=timestamps,
            stream=stream,
        )
        chunks = self._calls.stream("Logs", f"read the log of {ref}", request, self._by())
        return (LogChunk(one.stream, one.data, one.at, one.offset) for one in chunks)


def _spec(wanted: ContainerSpec) -> Any:
    """With the values of its secrets, and only what was asked for."""
    value = wanted.model_dump(mode="json", context=REVEAL, exclude_unset=True)
    return convert.fill(agent_pb2.ContainerSpec(), value)
