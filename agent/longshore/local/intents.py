"""What every mutating message carries, made a Request or refused with the field at fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from longshore.model.request import ACCEPTED, Request, Verb, check, goal_of


def decode(intent: Any, verb: Verb, origin: str, *, start: bool = True) -> Request:
    """The request in an Intent message. `start`: whether a create is to start, too.

    Raises:
        InvalidRequest: from `model.request.check`.
    """
    asked = Request(
        id=intent.request_id,
        generation=intent.generation if intent.HasField("generation") else None,
        origin=origin,
        wait=intent.wait if intent.HasField("wait") else None,
    )
    check(asked, verb, goal_of(verb, start=start), prefix="intent.")
    # The goal's own word only says what happens anyway.
    return replace(asked, wait=ACCEPTED if asked.wait == ACCEPTED else None)
