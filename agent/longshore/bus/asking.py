"""One question to one node: asked until it is answered, refused, or out of time."""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import kombu.exceptions
import oslo_messaging

from longshore.bus import wire
from longshore.bus.attempt import outcome_of
from longshore.bus.backoff import delays
from longshore.bus.link import Link
from longshore.bus.transport import Bus, target
from longshore.errors import (
    BrokerUnavailable,
    DeadlineExceeded,
    InvalidRequest,
    LongshoreError,
    NodeUnreachable,
    from_dict,
)

LOG = logging.getLogger(__name__)
_FIRST_PAUSE, _MOST_PAUSE = 0.1, 3.0
#: An attempt after the first is not begun with less time than this: cut off in mid-call, it would
#: turn the refusal that the caller already has into 'nobody knows'.
_FAIR = 0.25
#: How long oslo.messaging may overrun the time that it was given.
_OVERRUN = 0.2
_NO_ANSWER = (oslo_messaging.MessagingTimeout, TimeoutError)
#: What oslo.messaging, kombu and sockets raise where a broker does not answer.
_NO_BROKER = (
    oslo_messaging.MessageDeliveryFailure,
    kombu.exceptions.OperationalError,
    OSError,
)


class Asking:
    """Thread-safe.

    Args:
        bus: taken over; `close` ends it.
        silence: seconds without a sign of life after which an agent is asked again.
        context: who asks.
    """

    def __init__(self, bus: Bus, silence: int, context: Mapping[str, str]) -> None:
        self._bus = bus
        self._silence = silence
        self._context = dict(context)
        # Whether the last attempt found a broker; if not, it is looked for before oslo.messaging
        # is let loose, which would wait for it without end.
        self._found = False

    def ask(self, node: str, verb: str, message: Mapping[str, Any], seconds: float) -> Any:
        """The agent's answer, decoded from JSON.

        Raises:
            LongshoreError: what the agent raised, or why there is no answer.
        """
        if not seconds > 0:
            raise InvalidRequest(f"cannot {verb} within {seconds} seconds", field="deadline")
        to, plain = target(node, wire.version_for(verb, message)), _json(verb, message)
        end = time.monotonic() + seconds
        about = {"node": node, "request_id": message.get("request_id")}
        failure: LongshoreError | None = None
        unanswered = sent = False
        for number, pause in enumerate(delays(_FIRST_PAUSE, _MOST_PAUSE)):
            left = end - time.monotonic()
            if left < (_FAIR if number else 0.0):
                break
            sending = threading.Event()
            attempt = functools.partial(self._attempt, to, verb, plain, end, sending)
            outcome = outcome_of(attempt, left + _OVERRUN)
            if outcome.error is None:
                self._found = True
                return outcome.value
            failure = _translate(outcome.error, f"{verb} on node {node}", about)
            if not sending.is_set() and isinstance(outcome.error, TimeoutError):
                failure = BrokerUnavailable(f"cannot {verb} on node {node}: no broker answers")
            self._found = not isinstance(failure, BrokerUnavailable | DeadlineExceeded)
            sent |= sending.is_set() and isinstance(failure, BrokerUnavailable)
            unanswered |= sending.is_set() and isinstance(outcome.error, _NO_ANSWER)
            # One that was there a moment ago comes back: its broker has restarted.
            gone = isinstance(failure, NodeUnreachable) and number == 0
            if gone or not failure.retry or _is_final(failure):
                raise failure
            LOG.info("asking again in %.1f s: %s", pause, failure)
            time.sleep(max(0.0, min(pause, end - time.monotonic())))
        if failure is None or unanswered:
            raise DeadlineExceeded(
                f"cannot {verb} on node {node}: no answer in {seconds:g} s; it may still happen",
                object=node,
                hint="the same request_id again answers with what came of it",
                details={**about, "last": failure.to_dict() if failure else None},
            ) from failure
        if isinstance(failure, BrokerUnavailable):
            failure.details.update(about, sent=sent)
        raise failure

    def close(self) -> None:
        """Ends the connections; a broker that is not there is waited for a few seconds."""
        if outcome_of(self._bus.transport.cleanup, 5.0).error:
            LOG.warning("connections to the broker left open: it does not answer")

    def _attempt(
        self,
        to: Any,
        verb: str,
        message: Mapping[str, Any],
        end: float,
        sending: threading.Event,
    ) -> Any:
        if not self._found:
            link = Link(self._bus, f"{self._context['origin']} probe")
            try:
                link.open()
            finally:
                link.close()
        sending.set()
        client = oslo_messaging.get_rpc_client(
            self._bus.transport,
            to,
            # Also how long the message lives in the node's queue: past its caller's deadline no
            # agent is to find it there.
            timeout=max(0.001, end - time.monotonic()),
            retry=0,
            call_monitor_timeout=self._silence,
            transport_options=oslo_messaging.TransportOptions(at_least_once=True),
        )
        return client.call(self._context, verb, **message)


def _translate(error: Exception, what: str, about: Mapping[str, Any]) -> LongshoreError:
    """What a caller is told; `retry` says whether to ask again."""
    if isinstance(error, LongshoreError):
        # oslo.messaging rebuilds a remote error as a class of its own making, whose text holds
        # the agent's traceback.
        return from_dict(error.to_dict())
    if isinstance(error, oslo_messaging.MessageUndeliverable):
        return NodeUnreachable(
            f"cannot {what}: no agent listens under that name",
            object=str(about["node"]),
            hint="is the agent up, and on this broker?",
            details=about,
        )
    if isinstance(error, _NO_ANSWER):
        return DeadlineExceeded(
            f"cannot {what}: the agent gives no sign of life",
            object=str(about["node"]),
            details=about,
        )
    if isinstance(error, _NO_BROKER):
        return BrokerUnavailable(f"cannot {what}: {error}")
    first_line = str(error).partition("\n")[0]
    return LongshoreError(
        f"cannot {what}: {type(error).__name__}: {first_line}",
        object=str(about["node"]),
        details=about,
    )


def _is_final(failure: LongshoreError) -> bool:
    """Whether it is the agent's word that a wait is over: asked again it would begin anew."""
    return isinstance(failure, DeadlineExceeded) and "condition" in failure.details


def _json(verb: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """The message as JSON has it; oslo.messaging would make a string of anything else."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(message, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"cannot {verb}: the message is not JSON: {error}") from error
    return plain
