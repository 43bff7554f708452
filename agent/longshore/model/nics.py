"""Interfaces of a container and ports published on the node, as they are asked for."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field, field_validator

from longshore.model.values import Name, Part

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class NicSpec(Part):
    """One interface on a network of the node."""

    network: Name = "default"
    address: str | None = None
    mac: str | None = None

    @field_validator("address")
    @classmethod
    def _ipv4(cls, value: str | None) -> str | None:
        return None if value is None else str(IPv4Address(value))

    @field_validator("mac")
    @classmethod
    def _unicast(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _MAC.fullmatch(value.lower()) or int(value[:2], 16) & 1:
            raise ValueError("must be a unicast address like 02:00:00:00:00:01")
        return value.lower()


Port = Annotated[int, Field(ge=1, le=65535)]


class PortSpec(Part):
    """A port of the container, published on the node. `host_port` None: the node picks one."""

    container_port: Port
    host_port: Port | None = None
    host_ip: str = "0.0.0.0"
    protocol: Literal["tcp", "udp"] = "tcp"

    @field_validator("host_ip")
    @classmethod
    def _ipv4(cls, value: str) -> str:
        return str(IPv4Address(value))
