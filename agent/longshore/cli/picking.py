"""`--format` of inspect: one value out of many, by the way to it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_PIECE = re.compile(r"\{\{\s*\.?(.*?)\s*\}\}")


def shown(template: str, value: Any) -> str:
    """`state`, `nics.0.address`, or text with several of them: `{{.name}} is {{.state}}`.

    Text is shown as it is, nothing as an empty line, anything else as JSON.

    Raises:
        ValueError: why not, in words.
    """
    if "{{" not in template:
        return _text(picked(template.removeprefix("."), value))
    return _PIECE.sub(lambda piece: _text(picked(piece[1], value)), template)


def picked(path: str, value: Any) -> Any:
    """What is there. A key with dots in it, such as a label's, needs no quotes.

    Raises:
        ValueError: there is nothing.
    """
    if not path:
        return value
    parts = path.split(".")
    if isinstance(value, Mapping):
        for count in range(len(parts), 0, -1):
            key = ".".join(parts[:count])
            if key in value:
                return picked(".".join(parts[count:]), value[key])
        raise ValueError(f"there is no {parts[0]}; there are {', '.join(value) or 'none'}")
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not parts[0].isdecimal() or int(parts[0]) >= len(value):
            raise ValueError(f"there is no {parts[0]}: it is a list of {len(value)}")
        return picked(".".join(parts[1:]), value[int(parts[0])])
    raise ValueError(f"there is no {parts[0]} in {_text(value) or 'nothing'}")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
