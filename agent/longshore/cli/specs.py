"""From the options of `run` and `create`, as they were given, to a spec."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import click

from longshore.cli import notations
from longshore.cli.spec_options import OPTIONS, Option
from longshore.errors import InvalidRequest, InvalidSpec
from longshore.model.injected import REVEAL
from longshore.model.spec import ContainerSpec, parse

#: Words of --network that are no network's name.
NO_NETWORK, HOST_NETWORK = "none", "host"
#: Options outside the table → the field that each gives.
_OTHERS = {
    "env": "--env",
    "labels": "--label",
    "nics": "--network, --ip or --mac-address",
    "host_network": "--network",
    "command": "what follows the image",
}


def parsed(given: Mapping[str, Any], environment: Mapping[str, str]) -> ContainerSpec:
    """The spec that the options describe.

    Raises:
        click.UsageError: as `build`.
        InvalidSpec: with the option at fault in the hint.
    """
    try:
        return parse(build(given, environment))
    except InvalidSpec as error:
        field = error.field or ""
        # None when the option is not known, or what is at fault came from no option.
        flags = [one.flags[0] for one in OPTIONS if _is_of(field, one.field) and _given(given, one)]
        flags += [option for name, option in _OTHERS.items() if _is_of(field, name)]
        if flags and error.hint is None:
            error.hint = f"this is what {' or '.join(flags)} gave"
        raise


def build(given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The spec's JSON form, with only what was given; `model.spec.parse` judges it.

    Raises:
        click.UsageError: options that exclude each other, or an environment that has no form.
    """
    spec: dict[str, Any] = {"image": given["image"], "command": list(given["command"])}
    for option in OPTIONS:
        if _given(given, option):
            _put(spec, option, _value(given, option))
    try:
        if "io" in spec.get("limits", {}):
            spec["limits"]["io"] = notations.by_device(spec["limits"]["io"])
        spec["env"] = _environment(given, environment)
        spec["labels"] = notations.labels(given["label"])
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if "type" not in spec.get("health", {"type": ""}):
        raise click.UsageError(
            "what is probed is missing: give --health-cmd, --health-http or --health-tcp too"
        )
    spec |= _network(given)
    spec.setdefault("id", str(uuid4()))
    spec.setdefault("name", _name(given["image"], spec["id"]))
    try:
        json.dumps(spec, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise click.UsageError("a word of the command line is not UTF-8") from error
    return spec


def patch(given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The merge patch of a spec that options describe, with only what was given.

    Raises:
        click.UsageError: as `build`.
    """
    value: dict[str, Any] = {}
    for option in OPTIONS:
        if _given(given, option):
            _put(value, option, _value(given, option))
    try:
        if "io" in value.get("limits", {}):
            value["limits"]["io"] = notations.by_device(value["limits"]["io"])
        variables: dict[str, str | None] = {**_environment(given, environment)}
        labels: dict[str, str | None] = {**notations.labels(given["label"])}
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    variables |= dict.fromkeys(given["env_rm"])
    labels |= dict.fromkeys(given["label_rm"])
    network = _network(given)
    # The one excludes the other, also where the other is what it has now.
    if network:
        network = {"nics": [], "host_network": None, **network}
    image = {"image": given["image"]} if given["image"] is not None else {}
    maps = {name: one for name, one in (("env", variables), ("labels", labels)) if one}
    return {**value, **maps, **network, **image}


def publishing(spec: ContainerSpec, exposed: Sequence[str]) -> ContainerSpec:
    """The same with the image's ports (`80/tcp`) published too, but for those that it has already.

    Raises:
        InvalidRequest: one that cannot be.
    """
    ports = [port.model_dump(mode="json") for port in spec.ports]
    taken = {(port["protocol"], port["container_port"]) for port in ports}
    try:
        for port in (one for text in exposed for one in notations.ports(text)):
            key = (port.setdefault("protocol", "tcp"), port["container_port"])
            if key not in taken:
                taken.add(key)
                ports.append(port)
        return parse({**_asked(spec), "ports": ports})
    except (ValueError, InvalidSpec) as error:
        raise InvalidRequest(
            f"cannot publish what {spec.image} exposes ({', '.join(exposed)}): {error}",
            field="ports",
            object=spec.image,
            hint="drop -P, and publish with -p",
        ) from error


def _asked(spec: ContainerSpec) -> dict[str, Any]:
    """With the values of secrets, and only what was given: not the nics that nobody asked for."""
    return spec.model_dump(mode="json", context=REVEAL, exclude_unset=True)


def _is_of(field: str, whole: str) -> bool:
    return re.match(rf"{re.escape(whole)}(?![\w-])", field) is not None


def _given(given: Mapping[str, Any], option: Option) -> bool:
    value = given[option.variable]
    return value is not None and value is not False and value != ()


def _value(given: Mapping[str, Any], option: Option) -> Any:
    if option.is_flag:
        return option.value
    value = given[option.variable]
    try:
        return value if option.gather is None else option.gather(value)
    except ValueError as error:
        raise click.UsageError(f"{option.flags[0]}: {error}") from error


def _put(spec: dict[str, Any], option: Option, value: Any) -> None:
    *parents, last = option.field.split(".")
    for parent in parents:
        spec = spec.setdefault(parent, {})
    if last in spec and not isinstance(value, list):
        flags = [one.flags[0] for one in OPTIONS if one.field == option.field]
        raise click.UsageError(f"{' and '.join(flags)} say the same: give one of them")
    # Three options make mounts; whichever comes later goes behind. What a whole is made of is
    # added to by options of its parts: never to the option's own value.
    there = dict(value) if isinstance(value, Mapping) else value
    spec[last] = spec[last] + value if last in spec else there


def _environment(given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in given["env_file"]:
        found |= notations.environment_file(path, environment)
    return found | notations.pairs(given["env"], environment)


def _network(given: Mapping[str, Any]) -> dict[str, Any]:
    nic = {
        field: given[option]
        for field, option in (("network", "network"), ("address", "ip"), ("mac", "mac_address"))
        if given[option] is not None
    }
    name = nic.get("network")
    if name not in (NO_NETWORK, HOST_NETWORK):
        return {"nics": [nic]} if nic else {}
    if len(nic) > 1:
        raise click.UsageError(f"--network {name} leaves nothing for --ip or --mac-address")
    if given["publish"]:
        raise click.UsageError(f"--network {name} leaves nothing to publish: drop -p")
    return {"nics": []} if name == NO_NETWORK else {"host_network": True}


def _name(image: str, id: str) -> str:
    """`web-6f1c7a54` for `registry/team/web:1`."""
    base = re.split(r"[:@]", image.rpartition("/")[2])[0]
    plain = re.sub(r"[^a-zA-Z0-9_.-]", "-", base).lstrip("_.-")[:40]
    return f"{plain or 'container'}-{id[:8]}"
