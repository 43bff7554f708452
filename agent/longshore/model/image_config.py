"""The part of an image's config that decides how its containers run, as Docker and OCI have it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from longshore.errors import BadImage
from longshore.model.fields import Fields
from longshore.model.host import ImageConfig

_PORT = re.compile(r"(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?(?:/(?P<protocol>tcp|udp|sctp))?")
_PORT_MAX = 65535
#: Each is a mount of its own.
_VOLUMES_MAX = 128
_PATH_MAX = 4096
#: The kernel's, and the runtime's: an image has nothing to keep there.
_NOT_A_VOLUME = ("/proc", "/sys", "/dev")
#: Nanoseconds each, but for the last.
_HEALTH_NUMBERS = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")


def read(value: Any) -> ImageConfig:
    """From the `config` of an image config; None is an empty one.

    Raises:
        BadImage: a field has the wrong type, or a value that no container can have.
    """
    config = Fields(value or {}, "config")
    return ImageConfig(
        entrypoint=config.texts("Entrypoint"),
        command=config.texts("Cmd"),
        env=config.texts("Env"),
        workdir=config.text("WorkingDir") or "/",
        user=config.text("User"),
        stop_signal=config.text("StopSignal"),
        labels=config.map("Labels"),
        exposed_ports=_ports(config.keys("ExposedPorts")),
        volumes=_volumes(config.keys("Volumes")),
        healthcheck=_healthcheck(config.object("Healthcheck")),
    )


def _ports(written: tuple[str, ...]) -> tuple[str, ...]:
    found = set()
    for text in written:
        match = _PORT.fullmatch(text)
        numbers = [int(n) for n in match.group("first", "last") if n] if match else []
        if match is None or not all(0 < n <= _PORT_MAX for n in numbers):
            raise BadImage(f"cannot use the image: config.ExposedPorts {text[:80]!r} is no port")
        found.add(f"{'-'.join(map(str, numbers))}/{match['protocol'] or 'tcp'}")
    return tuple(sorted(found, key=lambda port: (int(re.split("[-/]", port)[0]), port)))


def _volumes(written: tuple[str, ...]) -> tuple[str, ...]:
    if len(written) > _VOLUMES_MAX:
        raise BadImage(f"cannot use the image: config.Volumes has more than {_VOLUMES_MAX}")
    return tuple(sorted({_volume(text) for text in written}))


def _volume(text: str) -> str:
    why = None
    # POSIX keeps a leading `//`.
    path = posixpath.normpath("/" + text.lstrip("/"))
    if not text.startswith("/") or not text.isprintable() or len(text.encode()) > _PATH_MAX:
        why = "is no absolute path"
    elif ".." in text.split("/"):
        why = "leads upwards"
    elif path == "/":
        why = "would hide the image"
    elif any(path == taken or path.startswith(f"{taken}/") for taken in _NOT_A_VOLUME):
        why = "belongs to the system"
    if why is not None:
        raise BadImage(f"cannot use the image: config.Volumes {text[:80]!r} {why}")
    return path


def _healthcheck(value: Fields | None) -> Mapping[str, Any] | None:
    if value is None:
        return None
    found: dict[str, Any] = {"Test": list(value.texts("Test"))} if value.has("Test") else {}
    return found | {key: value.number(key) for key in _HEALTH_NUMBERS if value.has(key)}
