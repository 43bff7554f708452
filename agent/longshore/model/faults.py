"""What pydantic finds wrong with a message, in our words: each fault with its field's path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from longshore.model.values import OF_FIELD

#: Of the union of mounts: pydantic names them in the path.
_KINDS = frozenset({"bind", "tmpfs", "volume", "borrowed"})
#: Fields whose keys the caller makes up; what pydantic says of a key it says of `[key]` in it.
_MAPS = frozenset({"env", "hosts", "labels", "annotations", "hugepages", "sysctls"})
_OF_KEY = "[key]"
_KEY_MAX = 64


def faults_of(error: ValidationError, whole: str) -> list[dict[str, str]]:
    """A {field, why} for each. `whole`: the field to name when the fault is of no single one."""
    faults = error.errors(include_url=False, include_input=False)
    return [
        {"field": _path(fault["loc"]) + _inner(fault) or whole, "why": _why(fault)}
        for fault in faults
        # pydantic does not count an element that is wrong, and then misses one.
        if fault["type"] != "too_short" or not _within(fault["loc"], faults)
    ]


def _within(location: tuple[int | str, ...], faults: Sequence[Mapping[str, Any]]) -> bool:
    size = len(location)
    return any(len(one["loc"]) > size and one["loc"][:size] == location for one in faults)


def _path(location: tuple[int | str, ...]) -> str:
    """`('mounts', 0, 'bind', 'source')` → `mounts[0].source`, and a key of a map → `hosts[db]`."""
    text = ""
    for at, part in enumerate(location):
        before = location[at - 1] if at else None
        if before in _MAPS:
            text += f"[{str(part)[:_KEY_MAX]}]"
        elif isinstance(part, int):
            text += f"[{part}]"
        elif not (part == _OF_KEY or (part in _KINDS and location[at - 2 : at - 1] == ("mounts",))):
            text += f".{part}"
    return text.lstrip(".")


def _inner(fault: Mapping[str, Any]) -> str:
    """Of a fault that a whole says of one field in it: that field."""
    if fault["type"] != OF_FIELD:
        return ""
    field = str(fault["ctx"]["field"])
    return f".{field}" if fault["loc"] and not field.startswith("[") else field


#: pydantic's kind of fault → our words, where its own are about Python.
_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "extra_forbidden": lambda _: "no such field",
    "missing": lambda _: "is required",
    "greater_than": lambda bound: f"must be above {bound['gt']:g}",
    "greater_than_equal": lambda bound: f"must be at least {bound['ge']}",
    "less_than_equal": lambda bound: f"must be at most {bound['le']}",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "bool_type": lambda _: "must be true or false",
    "string_type": lambda _: "must be a string",
    "tuple_type": lambda _: "must be a list",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": lambda bound: f"must be at most {bound['max_length']} characters",
    "too_long": lambda bound: f"must have at most {bound['max_length']}",
    "too_short": lambda bound: f"must have at least {bound['min_length']}",
    "model_type": lambda _: "must be an object",
    "literal_error": lambda bound: f"must be {bound['expected']}",
    "string_pattern_mismatch": lambda _: "has a character that is not allowed",
}


def _why(fault: Mapping[str, Any]) -> str:
    words = _WORDS.get(fault["type"])
    if words is not None:
        return words(fault.get("ctx", {}))
    return str(fault["msg"]).removeprefix("Value error, ")
