"""What may be asked about containers' stories and changes, the same at both front doors."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from longshore.model.interest import Interest
from longshore.model.message import Message, Ref

#: What a watcher may pick from; `gap` is told to all.
Kind = Literal["state", "health", "renamed", "signalled", "limits"]
_Refs = Annotated[tuple[Ref, ...], Field(max_length=256, strict=False)]
_Kinds = Annotated[tuple[Kind, ...], Field(max_length=16, strict=False)]


class StoryMessage(Message):
    since: ClassVar[str] = "1.3"


class Explain(StoryMessage):
    verb = "explain"
    ref: Ref


class Watch(StoryMessage):
    """`after`: the number above which changes are wanted, 0: all since the agent's start; None:
    from now on."""

    verb = "watch"
    after: Annotated[int, Field(ge=0, le=2**53)] | None = None
    refs: _Refs = ()
    kinds: _Kinds = ()

    @property
    def interest(self) -> Interest:
        return Interest(self.refs, self.kinds)


class Events(Watch):
    """`timeout`: seconds to wait for the first one."""

    verb = "events"
    timeout: Annotated[float, Field(ge=0, le=60, strict=False, allow_inf_nan=False)] = 30.0
