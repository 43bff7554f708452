"""The messages that change a container: what they all carry, and those that operate it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from longshore.model.message import Message, Ref, RequestId
from longshore.model.request import (
    ACCEPTED,
    Request,
    Verb,
    generation_fault,
    goal_of,
    wait_fault,
)
from longshore.model.values import Name

T = TypeVar("T")


def _without(fault: Callable[[T], str | None]) -> Callable[[T], T]:
    def checked(value: T) -> T:
        why = fault(value)
        if why:
            raise ValueError(why)
        return value

    return checked


class Intent(Message):
    """A message that changes a container; `generation` and `wait` as in `model.request.Request`."""

    request_id: RequestId
    generation: Annotated[int | None, AfterValidator(_without(generation_fault))] = None
    wait: str | None = None

    @property
    def goal(self) -> str:
        """The word for `wait` that means: once it is carried out."""
        return goal_of(Verb(self.verb))

    @model_validator(mode="after")
    def _word(self) -> Self:
        why = wait_fault(self.wait, self.goal)
        if why:
            raise ValueError(why)
        return self

    def request(self, origin: str) -> Request:
        return Request(
            id=self.request_id,
            generation=self.generation,
            origin=origin,
            wait=ACCEPTED if self.wait == ACCEPTED else None,
        )


class Operation(Intent):
    since: ClassVar[str] = "1.3"
    ref: Ref


class Restart(Operation):
    """`grace`: seconds between the stop signal and SIGKILL; None: the spec's."""

    verb = "restart"
    grace: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] | None = None


class Kill(Operation):
    """`signal`: a name, with or without SIG, or a number."""

    verb = "kill"
    signal: Annotated[str, Field(min_length=1, max_length=32)] = "SIGKILL"


class Pause(Operation):
    verb = "pause"


class Unpause(Operation):
    verb = "unpause"


class Rename(Operation):
    verb = "rename"
    name: Name
