"""What a caller may ask for: the container's specification.

Frozen pydantic models; unknown fields are refused and all faults are reported at once, each
with its field path (`parse`). Sizes are bytes, CPUs fractional cores, times seconds. What
depends on the node (allowed roots, its CPUs, taken ports) is policy and not checked here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from longshore.errors import InvalidSpec
from longshore.model.linux import CAPABILITIES, RLIMITS, SIGNALS

MIB = 1024 * 1024
#: runc and crun cannot set themselves up inside less; Docker refuses the same.
MEMORY_MIN = 6 * MIB
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
_HOSTNAME = re.compile(r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)(\.(?!-)[a-zA-Z0-9-]{1,63}(?<!-))*")
_CPUSET = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ENV = re.compile(r"[^=\0]+")


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL byte")
    return text


def _absolute(path: str) -> str:
    _no_nul(path)
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        raise ValueError("must be an absolute path without '..'")
    return str(pure) if not str(pure).startswith("//") else str(pure)[1:]


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("must be 1 to 63 of a-z A-Z 0-9 _ . - and begin with a letter or digit")
    return text


def _unique(values: Sequence[Any], what: str) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value} is given twice")
        seen.add(value)


Text = Annotated[str, Field(max_length=32768), AfterValidator(_no_nul)]
AbsolutePath = Annotated[str, Field(max_length=4096), AfterValidator(_absolute)]
Name = Annotated[str, AfterValidator(_name)]
Signal = Annotated[str, Field(pattern="^(" + "|".join(SIGNALS) + ")$")]


class Part(BaseModel):
    """Strict: '5' is no number, and true is none either; a wrong unit never slips through."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Bind(Part):
    """A folder or file of the node, under one of its allowed roots, seen at `target`."""

    type: Literal["bind"] = "bind"
    source: AbsolutePath
    target: AbsolutePath
    read_only: bool = False
    propagation: Literal["private", "rprivate", "slave", "rslave", "shared", "rshared"] = "rprivate"


class Tmpfs(Part):
    """Memory-backed and empty at each start; counts against the container's memory limit."""

    type: Literal["tmpfs"] = "tmpfs"
    target: AbsolutePath
    size: Annotated[int, Field(ge=4096, le=2**50)]


Mount = Annotated[Bind | Tmpfs, Field(discriminator="type")]


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


class Ulimit(Part):
    name: Annotated[str, Field(pattern="^(" + "|".join(RLIMITS) + ")$")]
    soft: Annotated[int, Field(ge=0, le=2**63 - 1)]
    hard: Annotated[int, Field(ge=0, le=2**63 - 1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.soft > self.hard:
            raise ValueError("soft must not be above hard")
        return self


class Limits(Part):
    """None: not limited. `memory_swap` is memory plus swap, as the OCI spec has it."""

    cpus: Annotated[float, Field(gt=0, le=4096, strict=False, allow_inf_nan=False)] | None = None
    cpu_shares: Annotated[int, Field(ge=2, le=262144)] | None = None
    cpuset: str | None = None
    memory: Annotated[int, Field(ge=MEMORY_MIN, le=2**53)] | None = None
    memory_swap: Annotated[int, Field(ge=MEMORY_MIN, le=2**53)] | None = None
    pids: Annotated[int, Field(ge=1, le=4194304)] | None = None
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: Annotated[int, Field(ge=4096, le=2**53)] = 64 * MIB

    @field_validator("cpus", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool | str):
            raise ValueError("must be a number of cores, like 1.5")  # noqa: TRY004 - pydantic's contract
        return value

    @field_validator("cpus")
    @classmethod
    def _grain(cls, value: float | None) -> float | None:
        if value is not None and value < 0.01:
            raise ValueError("must be at least 0.01: the kernel's smallest quota is 1 ms in 100 ms")
        return value

    @field_validator("cpuset")
    @classmethod
    def _list_format(cls, value: str | None) -> str | None:
        if value is not None:
            if not _CPUSET.fullmatch(value):
                raise ValueError("must be a list like 0-3,5")
            cpus_of(value)
        return value

    @field_validator("ulimits")
    @classmethod
    def _once(cls, value: tuple[Ulimit, ...]) -> tuple[Ulimit, ...]:
        _unique([one.name for one in value], "ulimit")
        return value

    @model_validator(mode="after")
    def _swap(self) -> Self:
        if self.memory_swap is not None:
            if self.memory is None:
                raise ValueError("memory_swap needs memory")
            if self.memory_swap < self.memory:
                raise ValueError("memory_swap is memory plus swap and must not be below memory")
        return self


Capability = Annotated[str, Field(pattern="^(ALL|" + "|".join(CAPABILITIES) + ")$")]


class Security(Part):
    """Beside the default set; `privileged` needs the node's policy to allow it."""

    cap_add: tuple[Capability, ...] = ()
    cap_drop: tuple[Capability, ...] = ()
    read_only_rootfs: bool = False
    privileged: bool = False


class ContainerSpec(Part):
    """The whole request for one container. Empty `command` and `entrypoint`: the image's."""

    id: str
    name: Name
    image: Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_no_nul)]
    entrypoint: tuple[Text, ...] | None = None
    command: tuple[Text, ...] = ()
    env: dict[str, Text] = Field(default_factory=dict)
    workdir: AbsolutePath | None = None
    user: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]+(:[a-zA-Z0-9_.-]+)?$")] | None = None
    hostname: Annotated[str, Field(max_length=64)] | None = None
    labels: dict[Annotated[str, Field(min_length=1, max_length=256)], Text] = Field(
        default_factory=dict, max_length=64
    )
    mounts: Annotated[tuple[Mount, ...], Field(max_length=64)] = ()
    nics: Annotated[tuple[NicSpec, ...], Field(max_length=1)] = (NicSpec(),)
    ports: Annotated[tuple[PortSpec, ...], Field(max_length=256)] = ()
    limits: Limits = Limits()
    stop_signal: Signal = "SIGTERM"
    stop_grace: Annotated[float, Field(ge=0, le=86400, strict=False, allow_inf_nan=False)] = 10.0
    security: Security = Security()

    @field_validator("id")
    @classmethod
    def _uuid(cls, value: str) -> str:
        if str(UUID(value)) != value:
            raise ValueError("must be a uuid in its canonical form (lower case, with dashes)")
        return value

    @field_validator("env")
    @classmethod
    def _env_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _ENV.fullmatch(name):
                raise ValueError(f"{name!r} is no environment variable's name")
        return value

    @field_validator("hostname")
    @classmethod
    def _host(cls, value: str | None) -> str | None:
        if value is not None and not _HOSTNAME.fullmatch(value):
            raise ValueError("must be a host name (RFC 1123)")
        return value

    @field_validator("mounts")
    @classmethod
    def _targets(cls, value: tuple[Mount, ...]) -> tuple[Mount, ...]:
        _unique([mount.target for mount in value], "target")
        for mount in value:
            if mount.target == "/":
                raise ValueError("target / would hide the image")
        return value

    @field_validator("ports")
    @classmethod
    def _published_once(cls, value: tuple[PortSpec, ...]) -> tuple[PortSpec, ...]:
        _unique(
            [f"{p.host_ip}:{p.host_port}/{p.protocol}" for p in value if p.host_port is not None],
            "host port",
        )
        return value

    @model_validator(mode="after")
    def _ports_need_a_nic(self) -> Self:
        if self.ports and not self.nics:
            raise ValueError("ports need a nic to be reached through")
        return self


def cpus_of(cpuset: str) -> frozenset[int]:
    """The CPUs that a kernel list like `0-3,5` names.

    Raises:
        ValueError: a range that runs backwards.
    """
    cpus: set[int] = set()
    for part in cpuset.split(","):
        low, _, high = part.partition("-")
        if int(high or low) < int(low):
            raise ValueError(f"{part} runs backwards")
        cpus.update(range(int(low), int(high or low) + 1))
    return frozenset(cpus)


def parse(value: Mapping[str, Any]) -> ContainerSpec:
    """The spec in a decoded message (JSON types).

    Raises:
        InvalidSpec: with every fault and its field path.
    """
    try:
        return ContainerSpec.model_validate_json(_json(value))
    except ValidationError as error:
        faults = [
            {"field": _path(fault["loc"]), "why": _why(fault)}
            for fault in error.errors(include_url=False, include_input=False)
        ]
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    raise InvalidSpec(
        f"cannot accept the spec: {first['field']}: {first['why']}{more}",
        field=first["field"],
        object=str(value.get("name") or value.get("id") or "") or None,
        details={"faults": faults},
    )


def _json(value: Mapping[str, Any]) -> str:
    """Strict mode takes a list for a tuple only when it comes as JSON, which it did."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"cannot accept the spec: not JSON: {error}", field="spec") from error


def _path(location: tuple[int | str, ...]) -> str:
    """`('mounts', 0, 'bind', 'source')` → `mounts[0].source`."""
    parts = [
        part for i, part in enumerate(location) if not (part in ("bind", "tmpfs") and i >= 2)
    ]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.lstrip(".") or "spec"


def _why(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        return "no such field"
    return str(fault["msg"]).removeprefix("Value error, ")
