"""The verbs that change a container, by each of the two doors to the same service."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from oslo_messaging import ExpectedException

from fakes.lifecycle import Lifecycle
from longshore.bus.endpoint import Door
from longshore.bus.image_verbs import Images
from longshore.bus.operation_verbs import Operations
from longshore.bus.verbs import Containers
from longshore.bus.version_verbs import Versions
from longshore.lifecycle import lanes
from longshore.lifecycle.service import Service
from longshore.local.client import LocalClient
from longshore.local.server import LocalServer
from longshore.model.commit import Commit
from longshore.model.spec import ContainerSpec
from longshore.model.status import ImageDetail

#: Asks for a verb: its name, and what it takes beside the container.
Ask = Callable[[str, Mapping[str, Any], ContainerSpec], Any]
_IMAGE = ("commit",)
#: Which part of the agent has a verb that the containers have not.
_PARTS: Mapping[str, str] = {
    "commit": "images",
    "update": "updates",
    "rollback": "updates",
    "rebuild": "rebuilding",
}


@dataclass(frozen=True)
class _Service:
    """As much of the agent as these verbs need."""

    life: Lifecycle

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self.life, _PARTS.get(name, "containers")), name)

    def show_image(self, name: str) -> ImageDetail:
        return self.life.images.show(name)

    def is_ready(self, spec: ContainerSpec) -> bool:
        return self.life.admission.is_ready(spec)

    @property
    def spool_dir(self) -> Path:
        return self.life.folder


def bus(life: Lifecycle) -> Ask:
    """What oslo.messaging calls when a message has come."""
    service = cast(Service, _Service(life))
    door = Door(service, lanes.Lanes(lanes.sizes(4)), 2**20, threading.Event())
    endpoints = [Containers(door), Operations(door), Images(door), Versions(door)]

    def ask(verb: str, more: Mapping[str, Any], spec: ContainerSpec) -> Any:
        (method,) = [getattr(one, verb) for one in endpoints if hasattr(one, verb)]
        whose = {"spec": _asked(spec)} if verb == "create" else {"ref": spec.id}
        intent = {} if verb in _IMAGE else {"request_id": str(uuid4())}
        try:
            return method({"origin": "test"}, **whose, **intent, **more)
        except ExpectedException as expected:
            raise expected.exc_info[1] from None

    return ask


@contextmanager
def local(life: Lifecycle) -> Iterator[Ask]:
    """By way of a socket."""
    with tempfile.TemporaryDirectory(prefix="lsv-") as folder:
        socket = Path(folder) / "agent.sock"
        server = LocalServer(cast(Service, _Service(life)), socket, verbs=4, streams=4)
        server.start()
        try:
            with LocalClient(socket, timeout=20.0) as client:

                def ask(verb: str, more: Mapping[str, Any], spec: ContainerSpec) -> Any:
                    if verb == "create":
                        return client.create(_asked(spec), **more)
                    if verb == "commit":
                        return client.commit(spec.id, more["name"], Commit())
                    return getattr(client, verb)(spec.id, **more)

                yield ask
        finally:
            server.stop()


def _asked(spec: ContainerSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_unset=True)
