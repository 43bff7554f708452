"""containerd's own record of a container: the OCI spec, the runtime, and what it stands on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from longshore.errors import Conflict, HostBusy, NotFound
from longshore.host.containerd import leases
from longshore.host.containerd.client import Client
from longshore.model.host import Image, Runtime
from longshore.model.names import Names, is_container_id
from longshore.pb.containerd import containers_pb2, runc_options_pb2, tasks_pb2

SHIM = "io.containerd.runc.v2"
#: Type of the message that holds an OCI runtime spec, as JSON.
SPEC_URL = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
_OPTIONS_URL = "containerd.runc.v1.Options"
#: containerd refuses a label whose name and value have more bytes together.
_LABEL_MAX = 4096
_LABELS_OF_CONTAINERD = "containerd.io/"


class ContainerRecords:
    """`ContainerRecords` of lifecycle's ports."""

    def __init__(self, client: Client, snapshotter: str, runtime: Runtime) -> None:
        self._client = client
        self._snapshotter = snapshotter
        self._runtime = shim_runtime(runtime)

    def put(
        self, names: Names, image: Image, oci: Mapping[str, Any], labels: Mapping[str, str]
    ) -> None:
        """Creates or replaces containerd's record.

        Labels are what other tools show beside it. Those that containerd would refuse or take
        for its own stay out; the journal has them all.
        """
        record = containers_pb2.Container(
            id=names.id,
            labels=_shown(labels),
            image=image.name,
            runtime=self._runtime,
            spec=AnyMessage(type_url=SPEC_URL, value=json.dumps(oci).encode()),
            snapshotter=self._snapshotter,
            snapshot_key=names.snapshot,
        )
        try:
            self._create(record)
        except Conflict:
            self._replace(record, names)

    def remove(self, names: Names) -> None:
        """Removes the record, and not from under a task.

        Raises:
            HostBusy: its task is still there.
        """
        if self._has_task(names):
            # containerd would remove the record, and from then on let nobody at the task.
            raise HostBusy(
                f"cannot remove the record of {names.id}: its task is still there", object=names.id
            )
        request = containers_pb2.DeleteContainerRequest(id=names.id)
        try:
            self._client.call(
                self._client.containers.Delete,
                request,
                f"remove the record of {names.id}",
                object=names.id,
            )
        except NotFound:
            return

    def owned(self) -> set[str]:
        request = containers_pb2.ListContainersRequest()
        answers = self._client.stream(
            self._client.containers.ListStream, request, "list containers"
        )
        return {one.container.id for one in answers if is_container_id(one.container.id)}

    def _has_task(self, names: Names) -> bool:
        request = tasks_pb2.GetRequest(container_id=names.id)
        what = f"look for the task of {names.id}"
        try:
            self._client.call(self._client.tasks.Get, request, what, object=names.id)
        except NotFound:
            return False
        return True

    def _create(self, record: containers_pb2.Container) -> None:
        self._client.call(
            self._client.containers.Create,
            containers_pb2.CreateContainerRequest(container=record),
            f"record container {record.id}",
            object=record.id,
        )

    def _replace(self, record: containers_pb2.Container, names: Names) -> None:
        what = f"replace the record of {record.id}"
        request = containers_pb2.GetContainerRequest(id=record.id)
        there = self._client.call(self._client.containers.Get, request, what).container
        if there.runtime == record.runtime and there.snapshotter == record.snapshotter:
            update = containers_pb2.UpdateContainerRequest(container=record)
            update.update_mask.paths.extend(["labels", "image", "spec"])
            self._client.call(self._client.containers.Update, update, what, object=record.id)
            return
        # Runtime and snapshotter of a record cannot change; nothing but a lease keeps the
        # snapshot between the old record and the new one.
        leases.take(self._client, names.lease)
        leases.hold_snapshot(self._client, names.lease, self._snapshotter, names.snapshot)
        self.remove(names)
        self._create(record)
        leases.give_back(self._client, names.lease)


def shim_runtime(runtime: Runtime) -> containers_pb2.Container.Runtime:
    """The runtime as containerd's records have it."""
    options = runc_options_pb2.Options(
        binary_name=runtime.binary, systemd_cgroup=runtime.systemd_cgroup
    )
    value = options.SerializeToString(deterministic=True)
    return containers_pb2.Container.Runtime(
        name=SHIM, options=AnyMessage(type_url=_OPTIONS_URL, value=value)
    )


def _shown(labels: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in labels.items()
        if len(name.encode()) + len(value.encode()) <= _LABEL_MAX
        and not name.startswith(_LABELS_OF_CONTAINERD)
    }
