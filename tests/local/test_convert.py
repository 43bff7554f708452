"""agent.proto against the models: nothing lost, nothing changed in kind."""

from __future__ import annotations

from typing import Any, get_args
from uuid import uuid4

import pytest
from pydantic import BaseModel

from fakes.node import NODE, PORT_IN_USE, status
from fakes.service import DONE, MOVING
from longshore.local import convert
from longshore.model import image_messages as asks
from longshore.model import injected, limits, mounts, nics, security, spec, volume_messages
from longshore.model import status as statuses
from longshore.pb.longshore.v1 import agent_pb2

FULL: dict[str, Any] = {
    "id": str(uuid4()),
    "name": "web",
    "image": "busybox:1",
    "pull": "always",
    "image_credential": "ours",
    "entrypoint": [],
    "command": ["httpd", "-f"],
    "env": {"A": "1", "EMPTY": ""},
    "workdir": "/srv",
    "user": "www:www",
    "hostname": "web",
    "labels": {"tier": "front"},
    "mounts": [
        {
            "type": "bind",
            "source": "/srv/x",
            "target": "/x",
            "read_only": True,
            "propagation": "rshared",
        },
        {"type": "tmpfs", "target": "/tmp", "size": 2**40},
    ],
    "nics": [{"network": "default", "address": "10.88.0.9", "mac": "02:00:00:00:00:09"}],
    "ports": [
        {"container_port": 80, "host_port": 8080, "host_ip": "127.0.0.1", "protocol": "udp"},
    ],
    "limits": {
        "cpus": 0.5,
        "cpu_shares": 512,
        "cpuset": "0-1",
        "memory": 2**40,
        "memory_swap": 2**41,
        "pids": 100,
        "ulimits": [{"name": "nofile", "soft": 1024, "hard": 2**63 - 1}],
        "shm_size": 2**33,
    },
    "stop_signal": "SIGINT",
    "stop_grace": 2.5,
    "security": {
        "cap_add": ["NET_ADMIN"],
        "cap_drop": ["ALL"],
        "read_only_rootfs": True,
        "privileged": True,
    },
}


def back(kind: Any, value: dict[str, Any]) -> dict[str, Any]:
    return convert.to_dict(kind.FromString(convert.fill(kind(), value).SerializeToString()))


def test_a_full_spec_comes_back_as_it_went() -> None:
    assert back(agent_pb2.ContainerSpec, FULL) == FULL
    assert spec.parse(back(agent_pb2.ContainerSpec, FULL)) == spec.parse(FULL)


def test_nothing_that_was_not_set_appears() -> None:
    assert back(agent_pb2.ContainerSpec, {"name": "x"}) == {"name": "x"}
    assert back(agent_pb2.ContainerSpec, {}) == {}


@pytest.mark.parametrize("field", ["entrypoint", "nics"])
def test_an_empty_list_differs_from_none(field: str) -> None:
    assert back(agent_pb2.ContainerSpec, {field: []}) == {field: []}
    assert back(agent_pb2.ContainerSpec, {field: None}) == {}


@pytest.mark.parametrize(
    "value",
    [
        {"limits": {}},
        {"limits": {"memory": 0}},
        {"stop_grace": 0.0},
        {"security": {}},
        {"name": ""},
    ],
)
def test_zero_and_empty_are_values(value: dict[str, Any]) -> None:
    assert back(agent_pb2.ContainerSpec, value) == value


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Limits has no field memroy"):
        convert.fill(agent_pb2.ContainerSpec(), {"limits": {"memroy": 1}})


@pytest.mark.parametrize("state", ["running", "failed", "created"])
def test_a_status_comes_back_as_it_went(state: str) -> None:
    sent = status(spec.parse(FULL), state)
    value = back(agent_pb2.ContainerStatus, sent.to_dict())
    value["spec"] = spec.parse(value["spec"]).model_dump(mode="json")
    assert statuses.ContainerStatus.model_validate(value) == sent


def test_node_and_error_come_back_as_they_went() -> None:
    node = back(agent_pb2.NodeState, NODE.to_dict())
    assert statuses.NodeStatus.model_validate(node) == NODE
    error = back(agent_pb2.ErrorStatus, PORT_IN_USE.to_dict())
    assert statuses.ErrorStatus.model_validate(error) == PORT_IN_USE
    assert isinstance(error["details"]["pid"], int)


DETAIL = statuses.ImageDetail(
    name="docker.io/library/web:1",
    digest="sha256:" + "0" * 64,
    size=2**40,
    created_at=1.5,
    used_by=("web", "db"),
    used_at=2.5,
    names=("docker.io/library/web:1", "docker.io/library/web:2"),
    platform="linux/arm64/v8",
    layers=(
        statuses.ImageLayer(digest="sha256:1", diff_id="sha256:2", media_type="tar", size=2**40),
    ),
    entrypoint=("sh",),
    command=("-c", ""),
    env=("A=b",),
    workdir="/srv",
    user="www:www",
    stop_signal="SIGINT",
    labels={"tier": ""},
    exposed_ports=("80/tcp",),
    volumes=("/data",),
    healthcheck={"Test": ["CMD", "true"], "Interval": 2**53 + 1},
)


@pytest.mark.parametrize("healthcheck", [DETAIL.healthcheck, {}, None])
def test_an_image_comes_back_as_it_went(healthcheck: dict[str, Any] | None) -> None:
    sent = DETAIL.model_copy(update={"healthcheck": healthcheck})
    assert statuses.ImageDetail.model_validate(back(agent_pb2.ImageDetail, sent.to_dict())) == sent
    short = statuses.ImageStatus(name="web", digest="", size=0, created_at=0.0)
    again = back(agent_pb2.ImageStatus, short.to_dict())
    assert statuses.ImageStatus.model_validate(again) == short


FAILED = MOVING.model_copy(update={"state": "failed", "error": PORT_IN_USE})


@pytest.mark.parametrize("sent", [MOVING, DONE, FAILED, statuses.TransferStatus(image="web")])
def test_a_transfer_comes_back_as_it_went(sent: statuses.TransferStatus) -> None:
    value = back(agent_pb2.TransferStatus, sent.to_dict())
    assert statuses.TransferStatus.model_validate(value) == sent
    node = NODE.model_copy(update={"transfers": (sent, sent)})
    value = back(agent_pb2.NodeState, node.to_dict())
    assert statuses.NodeStatus.model_validate(value) == node


PAIRS = [
    (spec.ContainerSpec, agent_pb2.ContainerSpec),
    (spec.Dns, agent_pb2.Dns),
    (mounts.VolumesFrom, agent_pb2.VolumesFrom),
    (mounts.NewFolder, agent_pb2.NewFolder),
    (injected.File, agent_pb2.File),
    (injected.Secret, agent_pb2.Secret),
    (injected.KeyPair, agent_pb2.KeyPair),
    (limits.FlavorAsked, agent_pb2.FlavorAsked),
    (limits.IoLimit, agent_pb2.IoLimit),
    (security.Device, agent_pb2.Device),
    (statuses.OutOfMemory, agent_pb2.OutOfMemory),
    (statuses.IdRange, agent_pb2.IdRange),
    (statuses.FitsStatus, agent_pb2.FitsStatus),
    (statuses.Shortfall, agent_pb2.Shortfall),
    (statuses.FlavorStatus, agent_pb2.FlavorStatus),
    (statuses.VolumeStatus, agent_pb2.VolumeStatus),
    (volume_messages.CreateVolume, agent_pb2.CreateVolumeRequest),
    (nics.NicSpec, agent_pb2.NicSpec),
    (nics.PortSpec, agent_pb2.PortSpec),
    (limits.Limits, agent_pb2.Limits),
    (limits.Ulimit, agent_pb2.Ulimit),
    (security.Security, agent_pb2.Security),
    (statuses.ContainerStatus, agent_pb2.ContainerStatus),
    (statuses.NicStatus, agent_pb2.NicStatus),
    (statuses.PortStatus, agent_pb2.PortStatus),
    (statuses.LimitsStatus, agent_pb2.LimitsStatus),
    (statuses.StepStatus, agent_pb2.StepStatus),
    (statuses.ErrorStatus, agent_pb2.ErrorStatus),
    (statuses.ImageStatus, agent_pb2.ImageStatus),
    (statuses.ImageDetail, agent_pb2.ImageDetail),
    (statuses.ImageLayer, agent_pb2.ImageLayer),
    (statuses.TransferStatus, agent_pb2.TransferStatus),
    (statuses.LayerStatus, agent_pb2.LayerStatus),
    (statuses.PruneStatus, agent_pb2.PruneStatus),
    (asks.CredentialGiven, agent_pb2.Credential),
    (asks.AuthGiven, agent_pb2.Auth),
    (asks.ShowImage, agent_pb2.ShowImageRequest),
    (asks.PullImage, agent_pb2.PullImageRequest),
    (asks.PushImage, agent_pb2.PushImageRequest),
    (asks.ReadImages, agent_pb2.SaveImagesRequest),
    (asks.TagImage, agent_pb2.TagImageRequest),
    (asks.RemoveImage, agent_pb2.RemoveImageRequest),
    (asks.PruneImages, agent_pb2.PruneImagesRequest),
    (asks.CommitContainer, agent_pb2.CommitRequest),
    (statuses.NodeStatus, agent_pb2.NodeState),
    (statuses.NeighbourStatus, agent_pb2.NeighbourStatus),
    (statuses.Resource, agent_pb2.Resource),
    (statuses.Cannot, agent_pb2.Cannot),
    (statuses.ConvergeStatus, agent_pb2.ConvergeStatus),
    (statuses.Change, agent_pb2.Change),
]


@pytest.mark.parametrize(("model", "message"), PAIRS, ids=lambda one: one.__name__)
def test_message_and_model_have_the_same_fields(model: type[BaseModel], message: Any) -> None:
    names = {field.name.removesuffix("_json") for field in message.DESCRIPTOR.fields}
    assert names == set(model.model_fields)


def test_a_mount_has_the_fields_of_both_kinds() -> None:
    union, _ = get_args(mounts.Mount)
    fields = set().union(*(kind.model_fields for kind in get_args(union)))
    assert {field.name for field in agent_pb2.Mount.DESCRIPTOR.fields} == fields
