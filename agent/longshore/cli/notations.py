"""Docker's notations for ports, limits, names, devices and environment, as parts of a spec.

Each takes one option's text and returns what `model.spec` has at that place, or raises
ValueError with the reason. Only the notation is checked here; the spec checks the rest.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from longshore.cli.units import parse_size

_PORTS = re.compile(
    r"(?:(?P<ip>\d*\.[\d.]+):)?(?:(?P<host>\d*(?:-\d+)?):)?(?P<container>\d+(?:-\d+)?)(?:/(?P<proto>\w+))?"
)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def ports(text: str) -> list[dict[str, Any]]:
    """`[ip:][host:]container[/proto]`; ranges of the same length publish one by one."""
    match = _PORTS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no port: write [IP:][HOST:]CONTAINER[/udp], like 8080:80")
    inner = _range(match["container"])
    outer = _range(match["host"]) if match["host"] else [None] * len(inner)
    if len(outer) != len(inner):
        raise ValueError(f"{text!r} publishes {len(inner)} ports on {len(outer)}")
    fixed = {"host_ip": match["ip"], "protocol": match["proto"] and match["proto"].lower()}
    return [
        _only_set({"container_port": one, "host_port": other, **fixed})
        for one, other in zip(inner, outer, strict=True)
    ]


def ulimit(text: str) -> dict[str, Any]:
    """`name=soft[:hard]`; without `hard` both are the same."""
    match = re.fullmatch(r"(\w+)=(\d+)(?::(\d+))?", text)
    if match is None:
        raise ValueError(f"{text!r} is no ulimit: write NAME=SOFT[:HARD], like nofile=1024:2048")
    return {"name": match[1], "soft": int(match[2]), "hard": int(match[3] or match[2])}


def flavor(text: str) -> dict[str, Any]:
    """One of the node's, by its name."""
    return {"name": text}


def restart(text: str) -> dict[str, Any]:
    """`no`, `on-failure[:times]`, `always`, `unless-stopped`."""
    policy, colon, times = text.partition(":")
    return {"policy": policy, **({"retries": number(times)} if colon else {})}


def storage_opt(text: str) -> int:
    """`size=10g`, docker's word for the writable layer's size."""
    key, _, value = text.partition("=")
    if key != "size":
        raise ValueError(f"{key!r} is no storage option: write size=10g")
    return parse_size(value)


def io_limit(kind: str) -> Callable[[str], dict[str, Any]]:
    """`device:rate` of one kind of `IoLimit`: bytes with a unit, operations without."""

    def read(text: str) -> dict[str, Any]:
        device, _, rate = text.rpartition(":")
        if not device:
            raise ValueError(f"{text!r} is no limit of a device: write DEVICE:RATE")
        return {"device": device, kind: parse_size(rate) if "bps" in kind else number(rate)}

    return read


def by_device(limits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One for each device of what several options say of it."""
    found: dict[str, dict[str, Any]] = {}
    for one in limits:
        there = found.setdefault(one["device"], {"device": one["device"]})
        for kind, rate in one.items():
            if there.setdefault(kind, rate) != rate:
                raise ValueError(f"{one['device']} has two limits of {kind}")
    return list(found.values())


def hugepages(text: str) -> tuple[str, int]:
    """`2MB=64m`."""
    size, given, limit = text.partition("=")
    if not given:
        raise ValueError(f"{text!r} is no limit: write SIZE=BYTES, like 2MB=64m")
    return size, parse_size(limit)


def host(text: str) -> tuple[str, str]:
    """`name:address`, or with `=`; IPv6 may be in brackets."""
    match = re.fullmatch(r"([^:=]+)[:=]\[?([^\]]+)\]?", text)
    if match is None:
        raise ValueError(f"{text!r} is no host: write NAME:ADDRESS, like db:10.0.0.5")
    return match[1], match[2]


def pair(text: str) -> tuple[str, str]:
    """`key=value`."""
    key, given, value = text.partition("=")
    if not given or not key:
        raise ValueError(f"{text!r} has no name and value: write NAME=VALUE")
    return key, value


def mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for a key with two values."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            raise ValueError(f"{key} has two values")
    return found


def userns(text: str) -> bool:
    """Whether it has users of its own: `private` or `host`."""
    if text not in ("private", "host"):
        raise ValueError(f"{text!r} is no user namespace: private or host")
    return text == "private"


def device(text: str) -> dict[str, Any]:
    """`source[:target][:rwm]`."""
    source, *rest = text.split(":")
    access = rest.pop() if rest and re.fullmatch(r"r?w?m?", rest[-1]) else None
    if len(rest) > 1 or not source.startswith("/") or access == "":
        raise ValueError(f"{text!r} is no device: write SOURCE[:TARGET][:rwm], like /dev/fuse")
    if rest and not rest[0].startswith("/"):
        raise ValueError(
            f"{rest[0]!r} is no path, and no access: some of r, w and m, in this order"
        )
    return _only_set({"source": source, "target": rest[0] if rest else None, "access": access})


def mode(text: str) -> int:
    """Permission bits, octal as `chmod` takes them."""
    if not re.fullmatch(r"0?[0-7]{1,4}", text):
        raise ValueError(f"{text!r} is no mode: write it octal, like 644, and at most 7777")
    return int(text, 8)


def number(text: str) -> int:
    if not re.fullmatch(r"\d{1,19}", text):
        raise ValueError(f"{text!r} is no number")
    return int(text)


def truth(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(f"{text!r} is neither true nor false")
    return _BOOLEANS[text.lower()]


def capability(text: str) -> str:
    """With or without CAP_, in any case."""
    return text.upper().removeprefix("CAP_")


def stop_signal(text: str) -> str:
    """`SIGTERM`, `term`, or `15`."""
    if text.isdigit():
        try:
            return signal.Signals(int(text)).name
        except ValueError:
            raise ValueError(f"there is no signal {text}") from None
    name = text.upper()
    return name if name.startswith("SIG") else f"SIG{name}"


def pairs(texts: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """`KEY=VALUE`, or `KEY` to take it from `environment`, where it may be missing."""
    found: dict[str, str] = {}
    for text in texts:
        key, given, value = text.partition("=")
        if not key:
            raise ValueError(f"{text!r} has no name: write KEY=VALUE, or KEY")
        if given:
            found[key] = value
        elif key in environment:
            found[key] = environment[key]
    return found


def labels(texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE`, or `KEY` for an empty value."""
    return pairs((text if "=" in text else f"{text}=" for text in texts), {})


def environment_file(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """One KEY=VALUE or KEY a line, as it stands; `#` begins a line of comment."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {path}: it is not UTF-8") from error
    try:
        return pairs((line for line in lines if line and not line.startswith("#")), environment)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def entrypoint(text: str) -> list[str]:
    """One word; empty: none, also not the image's."""
    return [text] if text else []


#: Not even what the image asks for.
NO_HEALTHCHECK: Mapping[str, Any] = {"type": "none"}


def health_command(text: str) -> dict[str, Any]:
    """A line for the container's shell, as docker has it."""
    return {"type": "exec", "command": ["/bin/sh", "-c", text]}


def health_http(text: str) -> dict[str, Any]:
    """`[https:]port[/path]`."""
    match = re.fullmatch(r"(?:(https?):)?(\d+)(/.*)?", text)
    if match is None:
        raise ValueError(f"{text!r} is no page: write [https:]PORT[/PATH], like 8080/health")
    tls = {"tls": True} if match[1] == "https" else {}
    path = {"path": match[3]} if match[3] else {}
    return {"type": "http", "port": int(match[2]), **path, **tls}


def health_tcp(text: str) -> dict[str, Any]:
    return {"type": "tcp", "port": number(text)}


def _range(text: str) -> list[int]:
    low, _, high = text.partition("-")
    numbers = range(int(low), int(high or low) + 1)
    if not numbers:
        raise ValueError(f"{text} runs backwards")
    if len(numbers) > 256:
        raise ValueError(f"{text} is more than 256 ports")
    return list(numbers)


def _only_set(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}
