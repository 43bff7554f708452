"""What the node says about registries: the TOML file that `[images] registries` names.

    [registry."docker.io"]
    mirrors = ["https://mirror.example.org", "http://10.0.0.2:5000"]
    credential = "hub"
    token_server = "https://auth.docker.io/token"  # no other is asked for a token

    [registry."registry.example.org:5000"]
    ca = "/etc/longshore/example.pem"              # trusted beside the system's authorities
    client_cert = "/etc/longshore/node.pem"
    client_key = "/etc/longshore/node.key"

    [registry."10.0.0.5:5000"]
    plain_http = true                              # the registry itself, without TLS

    [credential.hub]
    registry = "docker.io"                         # sent there, and to its token server
    username = "someone"
    password_file = "/etc/longshore/hub.password"  # or password; or token, token_file alone

Mirrors are asked in their order, and then the registry. A mirror is reached as its URL says, by
http only where that is written, with the `ca`, the client certificate and the credential of the
table under its own host, if there is one. Secrets in files are read when they are used.

A registry that works by tokens names the server that gives them, and who asks for one says there
who it is, by TLS unless the registry itself is without. With `token_server` none but that one is
asked: the URL in whole, or without a path for all that is at that host.
"""

from __future__ import annotations

import json
import re
import ssl
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from longshore.errors import HostFailed, InvalidRequest
from longshore.host.registry.auth import is_token
from longshore.model.faults import faults_of
from longshore.model.reference import parse
from longshore.model.transfer import Credential

_FILE_MAX = 1024 * 1024
_SECRET_MAX = 64 * 1024
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def _domain(text: str) -> str:
    """Which registry names of images mean; `index.docker.io` is docker.io."""
    try:
        found = parse(f"{text}/x").domain
    except ValueError:
        found = ""
    if not found or (found == "docker.io" and text not in ("docker.io", "index.docker.io")):
        raise ValueError(f"{text!r} is no registry: it is written host[:port]")
    return found


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        fine = bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.scheme not in ("http", "https"):
        raise ValueError("must be a URL like https://mirror.example.org")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must hold no user, query or fragment")
    return text.rstrip("/")


def _file(text: str) -> str:
    if not Path(text).is_absolute():
        raise ValueError("must be an absolute path")
    try:
        with Path(text).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    return text


Domain = Annotated[str, AfterValidator(_domain)]
Url = Annotated[str, AfterValidator(_url)]
ReadableFile = Annotated[str, AfterValidator(_file)]


def _bearer(text: str) -> str:
    if not is_token(text):
        raise ValueError("has a character that is not allowed")
    return text


Secret = Annotated[str, Field(min_length=1, max_length=_SECRET_MAX)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class RegistrySettings(_Table):
    """One `[registry."host"]`."""

    mirrors: tuple[Url, ...] = ()
    ca: ReadableFile | None = None
    client_cert: ReadableFile | None = None
    client_key: ReadableFile | None = None
    plain_http: bool = False
    credential: str | None = None
    token_server: Url | None = None

    @model_validator(mode="after")
    def _tls(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key needs client_cert")
        probe = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca is not None:
                probe.load_verify_locations(self.ca)
        except OSError as error:
            raise ValueError(f"ca holds no certificate: {_reason(error)}") from error
        try:
            if self.client_cert is not None:
                probe.load_cert_chain(self.client_cert, self.client_key)
        except OSError as error:
            raise ValueError(
                f"client_cert and client_key do not hold a certificate and its key: "
                f"{_reason(error)}"
            ) from error
        return self


class CredentialSettings(_Table):
    """One `[credential.name]`."""

    registry: Domain
    username: str = ""
    password: Secret | None = Field(default=None, repr=False)
    password_file: ReadableFile | None = None
    token: Annotated[Secret, AfterValidator(_bearer)] | None = Field(default=None, repr=False)
    token_file: ReadableFile | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        given = [
            name
            for name in ("password", "password_file", "token", "token_file")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError("must have one of password, password_file, token and token_file")
        if given[0].startswith("password") != bool(self.username):
            raise ValueError("username and a password belong together; a token stands alone")
        return self

    def read(self) -> Credential:
        """What it is now.

        Raises:
            HostFailed: its file cannot be read, or holds no token.
        """
        password = _secret(self.password, self.password_file)
        token = _secret(self.token, self.token_file)
        if self.token_file is not None and not is_token(token):
            raise HostFailed(
                f"cannot use the credential in {self.token_file}: it is no token",
                object=self.token_file,
            )
        return Credential(self.username, password, token)


class Settings(_Table):
    """The whole file."""

    registry: dict[Domain, RegistrySettings] = Field(default_factory=dict)
    credential: dict[str, CredentialSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        for domain, registry in self.registry.items():
            if registry.credential is None:
                continue
            name = f'registry."{domain}".credential'
            known = self.credential.get(registry.credential)
            if known is None:
                raise ValueError(f"{name}: there is no [credential.{registry.credential}]")
            if known.registry != domain:
                raise ValueError(f"{name}: {registry.credential} is for {known.registry}")
        return self

    def of(self, domain: str) -> RegistrySettings:
        return self.registry.get(domain, RegistrySettings())


def load(file: Path) -> Settings:
    """What the file says; one that is not there says nothing.

    Raises:
        InvalidRequest: 'cannot use the configuration: …' with every fault of it and its place.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(_FILE_MAX + 1).decode()
        if len(text) > _FILE_MAX:
            raise _unusable(file, "is too large")
        # By way of JSON: strict mode takes a list for a tuple only from there.
        return Settings.model_validate_json(json.dumps(tomllib.loads(text), default=str))
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise _unusable(file, "; ".join(_faults(error))) from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise _unusable(file, f"is not TOML: {str(error).partition(chr(10))[0]}") from error


def findings(file: Path, settings: Settings) -> list[str]:
    """What is wrong with who may read secrets, one sentence each; as it is now."""
    suspects = []
    if any(one.password or one.token for one in settings.credential.values()):
        suspects.append(file)
    for one in settings.credential.values():
        suspects += [Path(name) for name in (one.password_file, one.token_file) if name]
    holds = dict.fromkeys(suspects, "a registry's password")
    for registry in settings.registry.values():
        # Without a client_key the key is in client_cert.
        if key := registry.client_key or registry.client_cert:
            holds.setdefault(Path(key), "the key of a client certificate")
    return [
        f"{name} holds {what} and everybody can read it: chmod 0640 {name}"
        for name, what in holds.items()
        if _open_to_all(name)
    ]


def _open_to_all(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False  # Gone: then it tells nobody anything.


def _secret(value: str | None, file: str | None) -> str:
    if file is None:
        return value or ""
    try:
        with Path(file).open("rb") as opened:
            return opened.read(_SECRET_MAX).decode().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise HostFailed(f"cannot read the credential in {file}: {why}", object=file) from error


def _unusable(file: Path, why: str) -> InvalidRequest:
    return InvalidRequest(f"cannot use the configuration: {file}: {why}", object=str(file))


def _faults(error: ValidationError) -> Iterator[str]:
    raw = error.errors(include_url=False, include_input=False)
    for fault, told in zip(raw, faults_of(error, ""), strict=True):
        path = "".join(_key(part) for part in fault["loc"] if part != "[key]").lstrip(".")
        yield f"{path}: {told['why']}" if path else told["why"]


def _key(part: int | str) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}"


def _quoted(text: str) -> str:
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "it is none"
    return error.strerror or "it cannot be read"
