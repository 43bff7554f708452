"""What a caller may ask for: the container's specification.

Frozen pydantic models; unknown fields are refused and all faults are reported at once, each
with its field path (`parse`). Sizes are bytes, CPUs fractional cores, times seconds. What
depends on the node (allowed roots, its CPUs, taken ports) is policy and not checked here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from longshore.errors import InvalidSpec
from longshore.model.asking import unaskable
from longshore.model.faults import faults_of
from longshore.model.health import HealthCheck
from longshore.model.injected import FILES_MAX, File, KeyPair, Secret
from longshore.model.limits import FlavorAsked, Limits
from longshore.model.mounts import Mount, VolumesFrom
from longshore.model.nics import NicSpec, PortSpec
from longshore.model.reference import canonical
from longshore.model.restarts import Restart
from longshore.model.security import Security
from longshore.model.sysctls import namespace_of
from longshore.model.values import (
    AbsolutePath,
    HostName,
    Name,
    Part,
    Signal,
    Text,
    fault,
    no_nul,
    unique,
)

#: Those of volumes_from are among them.
MOUNTS_MAX = 64
_ENV = re.compile(r"[^=\0]+")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


def _image(text: str) -> str:
    """As the user wrote it; what it means is `reference.canonical`'s to say."""
    canonical(no_nul(text))
    return text


def _address(text: str) -> str:
    return str(ip_address(text))


def _zone(text: str) -> str:
    if not _ZONE.fullmatch(text):
        raise ValueError("must be a time zone, such as Europe/Berlin or UTC")
    return text


Address = Annotated[str, AfterValidator(_address)]
_Key = Annotated[str, Field(min_length=1, max_length=256)]


class Dns(Part):
    """resolv.conf(5) of the container; what is empty is the node's, but for options, which belong
    to the servers that they stand beside."""

    servers: Annotated[tuple[Address, ...], Field(max_length=8)] = ()
    search: Annotated[tuple[HostName, ...], Field(max_length=32)] = ()
    options: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+(:[0-9]+)?$")], ...], Field(max_length=16)
    ] = ()


class ContainerSpec(Part):
    """The whole request for one container.

    None for `entrypoint`, `workdir`, `user` and `stop_signal`, and an empty `command` without
    an entrypoint: the image's.

    Args:
        pull: whether to ask the image's source.
        image_credential: which of the node's configured credentials for it; None: the one that
            the node has for that registry.
        flavor: limits that count where `limits` leaves something open.
        groups: supplementary ones, names of the image's /etc/group or numbers.
        hostname: None: the name. `domain`: what follows it in the full name.
        hosts: more lines of /etc/hosts: name → address.
        annotations: of the OCI spec, for runtimes and their hooks; `labels` are for people.
        timezone: of tz's names, the node's own files; None: the image's.
        host_network: the node's own network instead of `nics`.
        init: a process of the node's runs the command, reaps zombies and passes signals on.
        tty: its process has a terminal; what it writes is all stdout.
        stdin: its process reads what `attach` sends; else it reads nothing.
        restart: whether it is started again by itself once it has ended.
        health: None: what the image says.
        stop_grace: seconds between the stop signal and SIGKILL.
        auto_remove: deleted once it has ended.
    """

    id: str
    name: Name
    image: Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_image)]
    pull: Literal["always", "if-not-present", "never"] = "if-not-present"
    image_credential: Name | None = None
    flavor: FlavorAsked | None = None
    entrypoint: tuple[Text, ...] | None = None
    command: tuple[Text, ...] = ()
    env: dict[str, Text] = Field(default_factory=dict)
    workdir: AbsolutePath | None = None
    user: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]+(:[a-zA-Z0-9_.-]+)?$")] | None = None
    groups: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")], ...], Field(max_length=64)
    ] = ()
    hostname: Annotated[HostName, Field(max_length=64)] | None = None
    domain: Annotated[HostName, Field(max_length=64)] | None = None
    hosts: dict[HostName, Address] = Field(default_factory=dict, max_length=256)
    dns: Dns = Dns()
    labels: dict[_Key, Text] = Field(default_factory=dict, max_length=64)
    annotations: dict[_Key, Text] = Field(default_factory=dict, max_length=64)
    mounts: Annotated[tuple[Mount, ...], Field(max_length=MOUNTS_MAX)] = ()
    volumes_from: Annotated[tuple[VolumesFrom, ...], Field(max_length=16)] = ()
    files: Annotated[tuple[File, ...], Field(max_length=64)] = ()
    secrets: Annotated[tuple[Secret, ...], Field(max_length=64)] = ()
    key_pair: KeyPair | None = None
    timezone: Annotated[str, Field(max_length=64), AfterValidator(_zone)] | None = None
    nics: Annotated[tuple[NicSpec, ...], Field(max_length=1)] = (NicSpec(),)
    host_network: bool = False
    ports: Annotated[tuple[PortSpec, ...], Field(max_length=256)] = ()
    limits: Limits = Limits()
    init: bool = False
    tty: bool = False
    stdin: bool = False
    restart: Restart = Restart()
    health: HealthCheck | None = None
    stop_signal: Signal | None = None
    stop_grace: Annotated[float, Field(ge=0, le=86400, strict=False, allow_inf_nan=False)] = 10.0
    auto_remove: bool = False
    security: Security = Security()

    @field_validator("id")
    @classmethod
    def _uuid(cls, value: str) -> str:
        if str(UUID(value)) != value:
            raise ValueError("must be a uuid in its canonical form (lower case, with dashes)")
        return value

    @field_validator("stop_grace", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        if isinstance(value, bool | str):
            raise ValueError("must be a number of seconds")  # noqa: TRY004 - pydantic's contract
        return value

    @field_validator("env")
    @classmethod
    def _env_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _ENV.fullmatch(name):
                raise ValueError(f"{name!r} is no environment variable's name")
        return value

    @field_validator("files")
    @classmethod
    def _small(cls, value: tuple[File, ...]) -> tuple[File, ...]:
        if sum(len(one.data) for one in value) > FILES_MAX:
            raise ValueError(f"must be at most {FILES_MAX} bytes together")
        return value

    @field_validator("secrets")
    @classmethod
    def _named_once(cls, value: tuple[Secret, ...]) -> tuple[Secret, ...]:
        unique([one.name for one in value], "secret", "name")
        return value

    @field_validator("ports")
    @classmethod
    def _published_once(cls, value: tuple[PortSpec, ...]) -> tuple[PortSpec, ...]:
        unique(
            [f"{p.host_ip}:{p.host_port}/{p.protocol}" for p in value if p.host_port is not None],
            "host port",
            "host_port",
        )
        return value

    @field_validator("security")
    @classmethod
    def _own_namespaces(cls, value: Security, info: ValidationInfo) -> Security:
        """The node's network is in the node's user namespace, and so are its sysctls."""
        if info.data.get("host_network"):
            if value.user_namespace:
                raise ValueError("user_namespace needs a network of its own, not host_network")
            for name in value.sysctls:
                if namespace_of(name) == "network":
                    raise ValueError(f"sysctls: {name} would be the node's, with host_network")
        if info.data.get("domain") and "kernel.domainname" in value.sysctls:
            raise ValueError("sysctls: kernel.domainname is what domain says")
        return value

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.auto_remove and self.restart.policy != "no":
            raise fault("restart.policy", "cannot be with auto_remove: it would be gone")
        return self

    @model_validator(mode="after")
    def _one_network(self) -> Self:
        if self.host_network and self.nics:
            raise ValueError("host_network leaves nothing for nics")
        if self.ports and (self.host_network or not self.nics):
            raise ValueError("ports need a nic to be reached through")
        return self

    @model_validator(mode="after")
    def _one_thing_a_place(self) -> Self:
        seen = set(self.managed)
        kinds: Mapping[str, Sequence[str]] = {
            "mounts": [one.target for one in self.mounts],
            "files": [one.target for one in self.files],
            "secrets": [one.place for one in self.secrets],
        }
        for kind, targets in kinds.items():
            for index, target in enumerate(targets):
                if target in seen:
                    raise fault(f"{kind}[{index}].target", f"target {target} is given twice")
                seen.add(target)
        return self

    @property
    def managed(self) -> tuple[str, ...]:
        """Files of /etc that the node writes as this request says."""
        asked = {
            "/etc/hosts": bool(self.hosts),
            "/etc/resolv.conf": self.dns != Dns(),
            "/etc/localtime": self.timezone is not None,
            "/etc/timezone": self.timezone is not None,
        }
        return tuple(target for target, is_asked in asked.items() if is_asked)

    def but(self, **changes: Any) -> ContainerSpec:
        """A copy with these fields changed. Raises InvalidSpec: it contradicts itself then."""
        try:
            return ContainerSpec(**{**dict(self), **changes})
        except ValidationError as error:
            raise invalid(faults_of(error, "spec"), {"name": self.name}) from None

    def without_values(self) -> ContainerSpec:
        """What may be shown and kept: the values of secrets and the content of files are kept
        elsewhere, encrypted the former, and the latter no longer than it takes to write them."""
        if not any(one.value is not None for one in self.secrets) and not self.contents:
            return self
        secrets = tuple(one.model_copy(update={"value": None}) for one in self.secrets)
        files = tuple(one.model_copy(update={"content": None}) for one in self.files)
        return self.model_copy(update={"secrets": secrets, "files": files})

    @property
    def contents(self) -> tuple[str, ...]:
        """Of its files, one each; none in a spec that the agent shows."""
        return tuple(one.content for one in self.files if one.content is not None)

    def with_contents(self, contents: Sequence[str]) -> ContainerSpec:
        """What `without_values` has taken from its files, put back."""
        files = tuple(
            one.model_copy(update={"content": content})
            for one, content in zip(self.files, contents, strict=True)
        )
        return self.model_copy(update={"files": files})

    @property
    def interfaces(self) -> tuple[NicSpec, ...]:
        """The nics that it gets: none beside the node's own network."""
        return () if self.host_network else self.nics

    @property
    def full_name(self) -> str:
        """Host name, with the domain if there is one."""
        host = self.hostname or self.name
        return f"{host}.{self.domain}" if self.domain else host


def parse(value: Mapping[str, Any]) -> ContainerSpec:
    """The spec in a decoded message (JSON types).

    Raises:
        InvalidSpec: with every fault and its field path.
    """
    spec = recorded(value)
    if faults := unaskable(spec):
        raise invalid(faults, value)
    return spec


def recorded(value: Mapping[str, Any]) -> ContainerSpec:
    """The spec in a status: without the values of secrets, with what the node made of it.

    Raises:
        InvalidSpec: as `parse`.
    """
    try:
        return ContainerSpec.model_validate_json(_json(_with_nics(value)))
    except ValidationError as error:
        raise invalid(faults_of(error, "spec"), value) from None


def _with_nics(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """None by default beside the node's network, so that what is dumped can be read again."""
    return {"nics": [], **value} if value.get("host_network") is True else value


def invalid(faults: Sequence[Mapping[str, str]], value: Mapping[str, Any]) -> InvalidSpec:
    """All faults of a spec as one error, which says the first."""
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return InvalidSpec(
        f"cannot accept the spec: {first['field']}: {first['why']}{more}",
        field=first["field"],
        object=str(value.get("name") or value.get("id") or "") or None,
        details={"faults": list(faults)},
    )


def _json(value: Mapping[str, Any]) -> str:
    """Strict mode takes a list for a tuple only when it comes as JSON, which it did."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"cannot accept the spec: not JSON: {error}", field="spec") from error
