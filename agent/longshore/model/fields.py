"""Typed reading of JSON that somebody else wrote: what is not of the right type is a BadImage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from longshore.errors import BadImage


def parse(data: bytes, name: str) -> Mapping[str, Any]:
    """The JSON object in a document."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadImage(f"cannot use the image: {name} is not JSON: {error}", object=name) from error
    if not isinstance(document, dict):
        raise BadImage(f"cannot use the image: {name} is not a JSON object", object=name)
    return document


class Fields:
    """A JSON object whose absent and null fields mean the same. `where`: its place, for errors."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise BadImage(f"cannot use the image: {where} is not a JSON object")
        self._value = value
        self._where = where

    def text(self, key: str) -> str:
        value = self._value.get(key)
        fits = value is None or isinstance(value, str)
        return str(self._check(key, value or "", fits))

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._value.get(key) or []
        fits = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return tuple(self._check(key, value, fits))

    def map(self, key: str) -> Mapping[str, str]:
        value = self._value.get(key) or {}
        fits = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
        return dict(self._check(key, value, fits))

    def keys(self, key: str) -> tuple[str, ...]:
        """Go's way to write a set: an object with empty values."""
        value = self._value.get(key) or {}
        return tuple(sorted(self._check(key, value, isinstance(value, dict))))

    def number(self, key: str) -> int:
        value = self._value.get(key)
        fits = isinstance(value, int) and not isinstance(value, bool)
        return int(self._check(key, 0 if value is None else value, value is None or fits))

    def object(self, key: str) -> Fields | None:
        value = self._value.get(key)
        return None if value is None else Fields(value, f"{self._where}.{key}")

    def has(self, key: str) -> bool:
        return self._value.get(key) is not None

    def _check(self, key: str, value: Any, fits: bool) -> Any:
        if not fits:
            raise BadImage(f"cannot use the image: {self._where}.{key} has the wrong type")
        if not all(map(_is_text, _texts(value))):
            raise BadImage(
                f"cannot use the image: {self._where}.{key} holds what no text can",
                field=f"{self._where}.{key}",
            )
        return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        yield from (one for one in value if isinstance(one, str))
        if isinstance(value, dict):
            yield from (one for one in value.values() if isinstance(one, str))


def _is_text(text: str) -> bool:
    """JSON can escape half a character, which cannot be written anywhere; and neither an argument
    nor a path can hold a NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
