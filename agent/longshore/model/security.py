"""What a container may do beside what its image needs; the node's policy has the last word."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from longshore.model.linux import CAPABILITIES
from longshore.model.places import why_no_device
from longshore.model.sysctls import namespace_of
from longshore.model.values import AbsolutePath, Part, Text, fault, no_nul, one_of, unique

Capability = Annotated[str, one_of("capability, such as NET_ADMIN", ("ALL", *CAPABILITIES))]
_DOMAIN = "kernel.domainname"
_SYSCTL = re.compile(r"[a-z0-9_-]+(\.[a-zA-Z0-9_-]+)+")


def _sysctl(name: str) -> str:
    if not _SYSCTL.fullmatch(no_nul(name)):
        raise ValueError(f"{name!r} is no sysctl, such as net.core.somaxconn")
    if namespace_of(name) is None:
        raise ValueError(f"{name} is of no namespace of a container, but of the whole node")
    return name


class Device(Part):
    """A device of the node, or a folder of them. `target` None: at the same path. `access`: of r,
    w and m (mknod)."""

    source: AbsolutePath
    target: AbsolutePath | None = None
    access: Annotated[str, Field(min_length=1, pattern=r"^r?w?m?$")] = "rwm"

    @property
    def place(self) -> str:
        return self.target or self.source

    @model_validator(mode="after")
    def _in_dev(self) -> Self:
        if (why := why_no_device(self.place)) is not None:
            raise fault("target" if self.target else "source", why)
        return self


class Security(Part):
    """Beside the default set; `privileged` needs the node's policy to allow it.

    Args:
        sysctls: namespaced ones, that is of the container's own network, ipc or uts namespace.
        user_namespace: root in there is nobody on the node; so none is privileged in there. Of the
            files in bind mounts and volumes it is root all the same, also of those on the node: it
            can leave a program there that is setuid root.
    """

    cap_add: tuple[Capability, ...] = ()
    cap_drop: tuple[Capability, ...] = ()
    read_only_rootfs: bool = False
    privileged: bool = False
    user_namespace: bool = False
    sysctls: dict[Annotated[str, AfterValidator(_sysctl)], Text] = Field(
        default_factory=dict, max_length=64
    )
    devices: Annotated[tuple[Device, ...], Field(max_length=64)] = ()

    @field_validator("user_namespace")
    @classmethod
    def _not_privileged(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("privileged"):
            raise ValueError("privileged is root on the node, which nobody in a user namespace is")
        return value

    @field_validator("sysctls")
    @classmethod
    def _writable(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if info.data.get("user_namespace") and _DOMAIN in value:
            raise fault(f"[{_DOMAIN}]", "nobody in a user namespace may write it; ask for domain")
        return value

    @field_validator("devices")
    @classmethod
    def _places(cls, value: tuple[Device, ...]) -> tuple[Device, ...]:
        unique([one.place for one in value], "device", "target")
        access: dict[str, str] = {}
        for index, one in enumerate(value):
            if access.setdefault(one.source, one.access) != one.access:
                raise fault(f"[{index}].access", f"{one.source} has another before it")
        return value
