"""How a verb is served: its size, its lane, its errors; and who asks for it.

It is a front door: an expected error crosses as itself, anything else is logged with its
traceback and crosses as `internal`, in one line.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol, TypeVar

import oslo_messaging

from longshore.bus import wire
from longshore.errors import Interrupted, LongshoreError
from longshore.lifecycle.lanes import Lanes, Place
from longshore.lifecycle.service import Service

LOG = logging.getLogger(__name__)
JSON = dict[str, Any] | list[dict[str, Any]]


@dataclass(frozen=True)
class Door:
    """What all verbs share. `leaving` is set when the agent stops.

    Args:
        max_message: bytes of JSON.
    """

    service: Service
    lanes: Lanes
    max_message: int
    leaving: Event

    def check_open(self, verb: str) -> None:
        """Raises Interrupted once the agent stops."""
        if self.leaving.is_set():
            raise Interrupted(
                f"cannot {verb}: the agent stops",
                hint="ask again: its next start goes on where this one was",
            )


@dataclass(frozen=True)
class Call:
    """One call; `message` is not checked yet, and not shown: it may hold a credential."""

    origin: str
    message: Mapping[str, Any]
    place: Place

    def __repr__(self) -> str:
        return f"Call(origin={self.origin!r})"


class Endpoint(Protocol):
    @property
    def door(self) -> Door: ...


E = TypeVar("E", bound=Endpoint)


def verb(handler: Callable[[E, Call], JSON]) -> Callable[..., JSON]:
    """Makes what oslo.messaging calls of a method that takes a Call."""
    name = handler.__name__

    # Positional only, and `**message`: no argument's name in a message can make a TypeError.
    @oslo_messaging.expected_exceptions(LongshoreError)  # type: ignore[untyped-decorator]  # oslo has no types
    @functools.wraps(handler)
    def serve(self: E, context: Mapping[str, Any], /, **message: Any) -> JSON:
        origin = _origin(context)
        try:
            wire.check_size(message, self.door.max_message)
            with self.door.lanes.entering(name) as place:
                return handler(self, Call(origin, message, place))
        except LongshoreError as error:
            LOG.info("%s by %s refused: %s: %s", name, origin, error.code, error)
            raise
        except Exception as error:  # a front door: whatever it is, the caller hears of it
            LOG.exception("%s by %s failed", name, origin)
            raise LongshoreError(
                f"cannot {name}: the agent failed: {type(error).__name__}",
                hint="the agent's log on the node has the traceback",
            ) from None

    return serve  # type: ignore[no-any-return]  # oslo has no types


def _origin(context: Mapping[str, Any]) -> str:
    """Who asked: our client says `origin`, an OpenStack service's context has `request_id`."""
    said = context.get("origin") or context.get("request_id")
    if not isinstance(said, str):
        return "bus"
    return "bus " + "".join(one if one.isprintable() else "?" for one in said[:128])
