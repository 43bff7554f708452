"""The gRPC face of lifecycle's Service, for containers and the node: decode, call, encode.

No decisions, but for the lane: what has to wait for an image waits beside the others.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc

from longshore.errors import InvalidRequest, MessageTooLarge
from longshore.lifecycle import lanes
from longshore.lifecycle.lanes import Place
from longshore.lifecycle.service import Service
from longshore.local import convert, intents
from longshore.local.door import Door, ref_of
from longshore.local.log_choice import log_choice, log_chunk
from longshore.local.peers import BEGUN
from longshore.model import image_messages as asks
from longshore.model import spec
from longshore.model.request import Request, Verb
from longshore.model.status import ContainerStatus
from longshore.pb.longshore.v1 import agent_pb2

LOG = logging.getLogger(__name__)
#: Lane of what follows something; its size is an option.
STREAMS = "stream"
#: As the spec's stop_grace.
_GRACE_MAX = 86400.0


class AgentService:
    """Some methods of service Agent.

    Args:
        max_message: bytes of a create message.
    """

    def __init__(self, service: Service, door: Door, max_message: int) -> None:
        self._service = service
        self._door = door
        self._max_message = max_message

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {
            "Create": self.create,
            "Start": self.start,
            "Stop": self.stop,
            "Delete": self.delete,
            "Show": self.show,
            "Fits": self.fits,
            "ListFlavors": self.list_flavors,
            "NodeStatus": self.node_status,
            "Logs": self.logs,
        }

    def create(self, request: Any, context: grpc.ServicerContext) -> Any:
        def work(place: Place) -> ContainerStatus:
            if request.ByteSize() > self._max_message:
                raise MessageTooLarge(
                    f"cannot create: the message is above {self._max_message} bytes",
                    details={"max_message": self._max_message},
                )
            start = request.start if request.HasField("start") else True
            origin = self._door.origin(context)
            asked = intents.decode(request.intent, Verb.CREATE, origin, start=start)
            wanted = spec.parse(convert.to_dict(request.spec))
            given = None
            if request.HasField("credential"):
                given = asks.credential(convert.to_dict(request.credential))
            given = asks.beside(wanted, given)
            _log(Verb.CREATE, wanted.name, asked)
            place.move(lanes.of_create(self._service, wanted))
            return self._service.create(asked, wanted, start=start, credential=given)

        return self._change(context, Verb.CREATE, work)

    def start(self, request: Any, context: grpc.ServicerContext) -> Any:
        def work(place: Place) -> ContainerStatus:
            asked, ref = self._asked(Verb.START, request, context)
            place.move(lanes.of_start(self._service, ref))
            return self._service.start(asked, ref)

        return self._change(context, Verb.START, work)

    def stop(self, request: Any, context: grpc.ServicerContext) -> Any:
        def work(_: Place) -> ContainerStatus:
            grace = request.grace if request.HasField("grace") else None
            if grace is not None and not 0 <= grace <= _GRACE_MAX:
                raise InvalidRequest(
                    f"cannot stop: grace must be 0 to {_GRACE_MAX:g} seconds",
                    field="grace",
                )
            asked, ref = self._asked(Verb.STOP, request, context)
            return self._service.stop(asked, ref, grace=grace)

        return self._change(context, Verb.STOP, work)

    def delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        def work(_: Place) -> ContainerStatus:
            asked, ref = self._asked(Verb.DELETE, request, context)
            return self._service.delete(asked, ref, force=request.force)

        return self._change(context, Verb.DELETE, work)

    def show(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "show"):
            return _container(self._service.show(ref_of("show", request.ref)))

    def fits(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "fits", "tell whether it fits"):
            wanted = spec.parse(convert.to_dict(request.spec))
            return convert.fill(agent_pb2.FitsStatus(), self._service.fits(wanted).to_dict())

    def list_flavors(self, request: Any, context: grpc.ServicerContext) -> Any:
        del request
        with self._door.serving(context, "list_flavors", "list flavors"):
            flavors = [one.to_dict() for one in self._service.list_flavors()]
            return convert.fill(agent_pb2.FlavorList(), {"flavors": flavors})

    def node_status(self, request: Any, context: grpc.ServicerContext) -> Any:
        del request
        with self._door.serving(context, "node_status", "show the node"):
            return convert.fill(agent_pb2.NodeState(), self._service.node_status().to_dict())

    def logs(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        what = "read the log"
        with self._door.serving(context, what, lane=STREAMS):
            chunks = self._service.logs(
                ref_of(what, request.ref), follow=request.follow, **log_choice(request)
            )
            # From now on nothing is missed, even if it is removed as soon as it has ended.
            first = list(itertools.islice(chunks, 1))
            context.send_initial_metadata((BEGUN,))
            for chunk in itertools.chain(first, chunks):
                if self._door.leaving.is_set() or not context.is_active():
                    return
                yield log_chunk(chunk)

    def _change(
        self,
        context: grpc.ServicerContext,
        what: Verb,
        function: Callable[[Place], ContainerStatus],
    ) -> Any:
        with self._door.serving(context, what) as place:
            return _container(function(place))

    def _asked(
        self, verb: Verb, request: Any, context: grpc.ServicerContext
    ) -> tuple[Request, str]:
        asked = intents.decode(request.intent, verb, self._door.origin(context))
        ref = ref_of(verb, request.ref)
        _log(verb, ref, asked)
        return asked, ref


def _log(verb: Verb, ref: str, request: Request) -> None:
    LOG.info("%s %s asked by %s, request %s", verb, ref, request.origin, request.id)


def _container(status: ContainerStatus) -> Any:
    return convert.fill(agent_pb2.ContainerStatus(), status.to_dict())
