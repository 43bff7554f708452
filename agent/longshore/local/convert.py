"""Protobuf messages to plain dicts and back, by their descriptors.

protobuf's own JSON mapping turns an int64 into a string and forgets whether a field was set;
here numbers stay numbers and what was not set is not in the dict. Two conventions of
agent.proto are known here: a message whose only field is a repeated `items` is a list that may
be absent, and a field `x_json` holds the value of key `x` as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
_JSON = "_json"


@dataclass(frozen=True)
class _Field:
    """What a descriptor says of a field, which takes long to ask: `key`: its name in a dict."""

    name: str
    key: str
    repeated: bool
    map: bool
    message: bool
    json: bool
    #: Whether it can be absent.
    presence: bool


@dataclass(frozen=True)
class _Table:
    """`fields`: in their order; `by_key`: by both names. `is_list`: see the module's docstring."""

    fields: tuple[_Field, ...]
    by_key: Mapping[str, _Field]
    is_list: bool


#: Of each kind of message that was converted.
_TABLES: dict[type[Message], _Table] = {}


def to_dict(message: Message) -> dict[str, Any]:
    """What is set in `message`; a scalar that cannot be absent is always there."""
    value: dict[str, Any] = {}
    for field in _table(type(message)).fields:
        if field.presence and not message.HasField(field.name):
            continue
        raw = getattr(message, field.name)
        if field.repeated:
            if raw:
                value[field.name] = _many(field, raw)
        elif field.json:
            value[field.key] = json.loads(raw or "{}")
        else:
            value[field.name] = _one(raw) if field.message else raw
    return value


def fill(message: M, value: Mapping[str, Any]) -> M:
    """Sets `message` from what `to_dict` would make of it; None is the same as absent.

    Raises:
        ValueError: a key that the message has no field for, or a value out of its range.
    """
    by_key = _table(type(message)).by_key
    for key, item in value.items():
        if item is None:
            continue
        field = by_key.get(key)
        if field is None:
            raise ValueError(f"{message.DESCRIPTOR.full_name} has no field {key}")
        if field.json:
            setattr(message, field.name, json.dumps(item))
        elif field.map:
            getattr(message, field.name).update(item)
        elif field.repeated:
            _extend(getattr(message, field.name), field, item)
        elif field.message:
            _fill_message(getattr(message, field.name), item)
        else:
            setattr(message, field.name, item)
    return message


def _many(field: _Field, raw: Any) -> Any:
    if field.map:
        return dict(raw)
    return [_one(item) for item in raw] if field.message else list(raw)


def _one(message: Message) -> Any:
    if not _table(type(message)).is_list:
        return to_dict(message)
    return to_dict(message).get("items", [])


def _extend(target: Any, field: _Field, items: Any) -> None:
    if not field.message:
        target.extend(items)
        return
    for item in items:
        fill(target.add(), item)


def _fill_message(message: Message, item: Any) -> None:
    message.SetInParent()
    fill(message, {"items": item} if _table(type(message)).is_list else item)


def _table(kind: type[Message]) -> _Table:
    table = _TABLES.get(kind)
    if table is None:
        table = _TABLES[kind] = _asked(kind)
    return table


def _asked(kind: type[Message]) -> _Table:
    fields = tuple(_field(one) for one in kind.DESCRIPTOR.fields)
    by_name = {one.name: one for one in fields}
    return _Table(
        fields, {**{one.key: one for one in fields}, **by_name}, list(by_name) == ["items"]
    )


def _field(one: Any) -> _Field:
    is_json = one.name.endswith(_JSON) and not one.is_repeated
    return _Field(
        name=one.name,
        key=one.name.removesuffix(_JSON) if is_json else one.name,
        repeated=one.is_repeated,
        map=bool(one.message_type and one.message_type.GetOptions().map_entry),
        message=one.message_type is not None,
        json=is_json,
        presence=one.has_presence and not one.is_repeated,
    )
