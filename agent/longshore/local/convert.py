"""Protobuf messages to plain dicts and back, by their descriptors.

protobuf's own JSON mapping turns an int64 into a string and forgets whether a field was set;
here numbers stay numbers and what was not set is not in the dict. Two conventions of
agent.proto are known here: a message whose only field is a repeated `items` is a list that may
be absent, and a field `x_json` holds the value of key `x` as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
_JSON = "_json"


def to_dict(message: Message) -> dict[str, Any]:
    """What is set in `message`; a scalar that cannot be absent is always there."""
    value: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        raw = getattr(message, field.name)
        if field.is_repeated:
            if raw:
                value[field.name] = _many(field, raw)
        elif field.has_presence and not message.HasField(field.name):
            continue
        elif field.name.endswith(_JSON):
            value[field.name.removesuffix(_JSON)] = json.loads(raw or "{}")
        else:
            value[field.name] = raw if field.message_type is None else _one(raw)
    return value


def fill(message: M, value: Mapping[str, Any]) -> M:
    """Sets `message` from what `to_dict` would make of it; None is the same as absent.

    Raises:
        ValueError: a key that the message has no field for, or a value out of its range.
    """
    for key, item in value.items():
        if item is None:
            continue
        field = _field(message.DESCRIPTOR, key)
        if field.name.endswith(_JSON):
            setattr(message, field.name, json.dumps(item))
        elif _is_map(field):
            getattr(message, field.name).update(item)
        elif field.is_repeated:
            _extend(getattr(message, field.name), field, item)
        elif field.message_type is None:
            setattr(message, field.name, item)
        else:
            _fill_message(getattr(message, field.name), item)
    return message


def _many(field: Any, raw: Any) -> Any:
    if _is_map(field):
        return dict(raw)
    return list(raw) if field.message_type is None else [_one(item) for item in raw]


def _one(message: Message) -> Any:
    if not _is_list(message.DESCRIPTOR):
        return to_dict(message)
    return to_dict(message).get("items", [])


def _extend(target: Any, field: Any, items: Any) -> None:
    if field.message_type is None:
        target.extend(items)
        return
    for item in items:
        fill(target.add(), item)


def _fill_message(message: Message, item: Any) -> None:
    message.SetInParent()
    fill(message, {"items": item} if _is_list(message.DESCRIPTOR) else item)


def _field(descriptor: Any, key: str) -> Any:
    by_name = descriptor.fields_by_name
    field = by_name.get(key) or by_name.get(key + _JSON)
    if field is None:
        raise ValueError(f"{descriptor.full_name} has no field {key}")
    return field


def _is_map(field: Any) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def _is_list(descriptor: Any) -> bool:
    return [field.name for field in descriptor.fields] == ["items"]
