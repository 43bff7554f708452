"""Names of images, as users write them and as they are kept.

A name leads to a registry (`[host[:port]/]path[:tag][@digest]`, the grammar of OCI's distribution
specification with Docker's defaults) or to Glance (`glance://<id or name>`). Each image has one
canonical name, by which it is stored, looked up and shown: `busybox` is
`docker.io/library/busybox:latest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GLANCE = "glance://"
DEFAULT_DOMAIN = "docker.io"
_DEFAULT_TAG = "latest"
_NAME_MAX = 255
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ALIASES = {"index.docker.io": DEFAULT_DOMAIN}


@dataclass(frozen=True)
class Reference:
    """An image in a registry; at least one of `tag` and `digest` is there.

    `domain` is the registry as names have it; where it is reached is its settings' affair.
    """

    domain: str
    path: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """The canonical name."""
        return f"{self.repository}{self.suffix}"

    @property
    def repository(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return tag + (f"@{self.digest}" if self.digest else "")

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag or _DEFAULT_TAG


def parse(text: str) -> Reference:
    """The reference that a user's name means.

    Raises:
        ValueError: it is none; says what is wrong with it.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is no sha256 digest")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, tag = rest, ""
    elif not _TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is no tag: 1 to 128 of a-z A-Z 0-9 _ . - are allowed")
    first, slash, path = head.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, path = DEFAULT_DOMAIN, head
    domain = _ALIASES.get(first, first)
    if not _is_domain(domain):
        raise ValueError(f"{domain!r} is no registry: it is written host[:port]")
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    if not _PATH.fullmatch(path):
        why = "must be lower case" if _PATH.fullmatch(path.lower()) else "is no image name"
        raise ValueError(f"{head!r} {why}")
    if len(domain) + len(path) > _NAME_MAX:
        raise ValueError(f"must be at most {_NAME_MAX} characters without tag and digest")
    return Reference(domain, path, tag or (None if digest else _DEFAULT_TAG), digest or None)


def _is_domain(text: str) -> bool:
    port = re.sub(r"^(\[.*\]|[^:]*):?", "", text)
    return bool(_DOMAIN.fullmatch(text)) and (not port or 0 < int(port) < 65536)


def is_glance(name: str) -> bool:
    return name.startswith(GLANCE)


def canonical(text: str) -> str:
    """The one name of the image that `text` names.

    Raises:
        ValueError: it names none.
    """
    if not is_glance(text):
        return parse(text).name
    what = text.removeprefix(GLANCE)
    if not 0 < len(what) <= _NAME_MAX or not what.isprintable():
        raise ValueError(f"{text!r} must be {GLANCE}<id or name of a Glance image>")
    return text
