"""The messages that concern named volumes and flavors, and the question whether a spec fits."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from longshore.model.message import Message, RequestId
from longshore.model.values import Name, Text


class VolumeMessage(Message):
    since: ClassVar[str] = "1.2"


class Fits(VolumeMessage):
    verb = "fits"
    spec: dict[str, Any]


class ListFlavors(VolumeMessage):
    verb = "list_flavors"


class CreateVolume(VolumeMessage):
    verb = "create_volume"
    request_id: RequestId
    name: Name
    labels: dict[Annotated[str, Field(min_length=1, max_length=256)], Text] = Field(
        default_factory=dict, max_length=64
    )


class ListVolumes(VolumeMessage):
    verb = "list_volumes"


class ShowVolume(VolumeMessage):
    verb = "show_volume"
    name: Name


class RemoveVolume(VolumeMessage):
    verb = "remove_volume"
    request_id: RequestId
    name: Name
