"""What [glance] says: who the node is to Keystone, and which Glance is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from longshore.errors import InvalidRequest


class Options(Protocol):
    """The options of [glance] in the configuration, by name."""

    auth_url: str | None
    username: str | None
    password: str | None
    user_domain_name: str
    project_name: str
    project_domain_name: str
    application_credential_id: str | None
    application_credential_secret: str | None
    cafile: str | None
    region_name: str | None
    valid_interfaces: Sequence[str]
    endpoint_override: str | None
    timeout: float


@dataclass(frozen=True)
class Login:
    """A user with a project, or (`id` is set) an application credential, which has its own."""

    secret: str = field(repr=False)
    id: str | None = None
    username: str | None = None
    user_domain_name: str = "Default"
    project_name: str = "service"
    project_domain_name: str = "Default"


@dataclass(frozen=True)
class Settings:
    """Where Keystone is and who the node is to it.

    `timeout`: seconds for one answer, also for a connection. `endpoint`: Glance's own address,
    None: the catalogue's for region and interfaces, the first of them that is there.
    """

    auth_url: str
    login: Login
    cafile: Path | None = None
    region: str | None = None
    interfaces: tuple[str, ...] = ("internal", "public")
    endpoint: str | None = None
    timeout: float = 5.0


@dataclass(frozen=True)
class Bounds:
    """Of one transfer: `size` in bytes; `stall`: seconds without a byte; `seconds`: in all."""

    size: int
    stall: float
    seconds: float


def settings(options: Options) -> Settings | None:
    """None: this node has no Glance.

    Raises:
        InvalidRequest: what is set does not fit together; never with a secret in it.
    """
    if not options.auth_url:
        return None
    cafile = Path(options.cafile) if options.cafile else None
    if cafile is not None and not cafile.is_file():
        raise _wrong("cafile", f"there is no file {cafile}")
    endpoint = _address("endpoint_override", options.endpoint_override)
    return Settings(
        versioned(_address("auth_url", options.auth_url) or "", "v3"),
        _login(options),
        cafile,
        options.region_name or None,
        tuple(options.valid_interfaces),
        versioned(endpoint, "v2") if endpoint else None,
        options.timeout,
    )


def versioned(address: str, version: str) -> str:
    """An address of a service's API, whether or not it names the version already."""
    bare = address.rstrip("/")
    return bare if bare.endswith(f"/{version}") else f"{bare}/{version}"


def _address(option: str, text: str | None) -> str | None:
    if not text:
        return None
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
        secret = parts.username is not None or parts.password is not None
    except ValueError:
        known = secret = False
    if not known or secret:
        raise _wrong(option, "must be http://host[:port][/path] or https://… without a password")
    return text


def _login(options: Options) -> Login:
    user, credential = options.username, options.application_credential_id
    if user and credential:
        raise _wrong("username", "a user and an application credential are two: set one of them")
    if credential:
        if not options.application_credential_secret:
            raise _wrong("application_credential_secret", "is missing")
        return Login(options.application_credential_secret, id=credential)
    if not user:
        raise _wrong("username", "neither it nor application_credential_id is set")
    if not options.password:
        raise _wrong("password", "is missing")
    return Login(
        options.password,
        None,
        user,
        options.user_domain_name,
        options.project_name,
        options.project_domain_name,
    )


def _wrong(option: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"cannot use the configuration: [glance] {option}: {why}", field=f"glance.{option}"
    )
