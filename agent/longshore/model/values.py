"""What the fields of a request are made of: strict parts, and kinds of text with their rules."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from longshore.model.linux import SIGNALS

MIB = 1024 * 1024
#: pydantic's type of the faults of `fault`.
OF_FIELD = "of_field"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
_HOSTNAME = re.compile(r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)(\.(?!-)[a-zA-Z0-9-]{1,63}(?<!-))*")


class Part(BaseModel):
    """Strict: '5' is no number, and true is none either; a wrong unit never slips through."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL byte")
    return text


def _absolute(path: str) -> str:
    no_nul(path)
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        raise ValueError("must be an absolute path without '..'")
    return str(pure) if not str(pure).startswith("//") else str(pure)[1:]


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("must be 1 to 63 of a-z A-Z 0-9 _ . - and begin with a letter or digit")
    return text


def is_host_name(text: str) -> bool:
    return _HOSTNAME.fullmatch(text) is not None


def _host(text: str) -> str:
    if not is_host_name(text):
        raise ValueError("must be a host name (RFC 1123)")
    return text


def fault(field: str, why: str) -> PydanticCustomError:
    """What a validator of a whole raises for one `field` in it: `memory`, `[1].target`."""
    return PydanticCustomError(OF_FIELD, "{why}", {"field": field, "why": why})


def unique(values: Sequence[Any], what: str, field: str) -> None:
    """Raises the fault of the first value that is there twice. `field`: its name in each part."""
    seen: set[Any] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise fault(f"[{index}].{field}", f"{what} {value} is given twice")
        seen.add(value)


def one_of(what: str, names: Iterable[str]) -> AfterValidator:
    """Like a pattern, but the message need not spell all of them."""
    known = re.compile("|".join(names))

    def check(text: str) -> str:
        if not known.fullmatch(text):
            raise ValueError(f"{text!r} is no {what}")
        return text

    return AfterValidator(check)


def octets(text: str, encoding: str) -> bytes:
    """What `text` stands for: itself in UTF-8, or what it is the base64 of.

    Raises:
        ValueError: it is not base64.
    """
    if encoding == "text":
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be base64") from error


def encoded(data: bytes, encoding: str) -> str:
    """The text that `octets` makes them of. Raises ValueError: they are none in UTF-8."""
    return data.decode() if encoding == "text" else base64.b64encode(data).decode()


Text = Annotated[str, Field(max_length=32768), AfterValidator(no_nul)]
AbsolutePath = Annotated[str, Field(max_length=4096), AfterValidator(_absolute)]
Name = Annotated[str, AfterValidator(_name)]
HostName = Annotated[str, Field(max_length=253), AfterValidator(_host)]
Signal = Annotated[str, one_of("signal's name, such as SIGTERM", SIGNALS)]
#: A user's or group's number; the largest one means 'none' to the kernel.
Id = Annotated[int, Field(ge=0, le=2**32 - 2)]
#: Permission bits, as a number: 0o644 is 420 in JSON.
Mode = Annotated[int, Field(ge=0, le=0o7777)]
