"""The message that asks for the end of a container's log."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from longshore.model.message import Message, Ref

#: Lines, and bytes of them, that are given where nothing is said of it; and at most.
TAIL, TAIL_MAX = 100, 10_000
BYTES, BYTES_MAX = 64 * 1024, 256 * 1024
Time = Annotated[float, Field(allow_inf_nan=False)]


class Logs(Message):
    """`after` and `before` are `since` and `until` in the message."""

    verb = "logs"
    since: ClassVar[str] = "1.3"
    ref: Ref
    tail: Annotated[int, Field(ge=0, le=TAIL_MAX)] = TAIL
    after: Annotated[Time | None, Field(alias="since")] = None
    before: Annotated[Time | None, Field(alias="until")] = None
    max_bytes: Annotated[int, Field(ge=1, le=BYTES_MAX)] = BYTES
    stream: Literal["stdout", "stderr"] | None = None
