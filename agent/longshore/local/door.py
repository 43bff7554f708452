"""What all rpcs share: who calls, how many are at work, and how an error ends one.

A front door: whatever goes wrong behind it becomes one clear error, and what nobody expected is
logged with its traceback.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc

from longshore.errors import Interrupted, InvalidRequest, LongshoreError
from longshore.lifecycle.lanes import Lanes, Place
from longshore.local import convert, failures, peers
from longshore.local.peers import Peers

LOG = logging.getLogger(__name__)


class Door:
    """`leaving` is set when the server stops: what follows something then ends."""

    def __init__(self, callers: Peers, lanes: Lanes) -> None:
        self.leaving = threading.Event()
        self._callers = callers
        self._lanes = lanes
        self._at_work = 0
        self._quiet = threading.Condition()

    def idle(self, timeout: float) -> bool:
        """Whether no call is at work any more, waiting up to `timeout` seconds for that."""
        with self._quiet:
            return self._quiet.wait_for(lambda: self._at_work == 0, timeout)

    @contextmanager
    def serving(
        self,
        context: grpc.ServicerContext,
        verb: str,
        what: str | None = None,
        lane: str | None = None,
    ) -> Iterator[Place]:
        """One call's place in its lane; ends the call with the error's status when one is raised.

        Args:
            what: finishes 'cannot …'; None: the verb.
            lane: None: the verb's.
        """
        what = what or verb
        with self._counted():
            try:
                with self._lanes.entering(verb, lane) as place:
                    yield place
            except LongshoreError as error:
                _refuse(context, error)
            except grpc.RpcError:
                LOG.info("cannot %s: the caller left", what)
                context.abort(grpc.StatusCode.CANCELLED, "the caller left")
            except Exception:
                # A front door: nobody behind it expected this, so the log gets all of it.
                LOG.exception("cannot %s: unexpected", what)
                hint = "its log has the traceback"
                _refuse(context, LongshoreError(f"cannot {what}: the agent has a fault", hint=hint))

    def check_open(self, what: str) -> None:
        """Raises Interrupted once the server stops."""
        if self.leaving.is_set():
            raise Interrupted(
                f"cannot {what}: the agent stops",
                hint="ask again: its next start goes on where this one was",
            )

    def origin(self, context: grpc.ServicerContext) -> str:
        """Who is calling, for the log and the record."""
        metadata = dict(context.invocation_metadata() or ())
        return self._callers.origin(str(metadata.get(peers.METADATA, "")))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._quiet:
            self._at_work += 1
        try:
            yield
        finally:
            with self._quiet:
                self._at_work -= 1
                self._quiet.notify_all()


def ref_of(what: str, ref: str) -> str:
    """Raises InvalidRequest for what can be no container's name."""
    if not ref or len(ref) > 256:
        raise InvalidRequest(
            f"cannot {what}: ref must be a container's id, name or beginning of its id", field="ref"
        )
    return ref


def given_in(what: str, request: Any) -> dict[str, Any]:
    """A message with a patch, as a dict. Raises InvalidRequest for a patch that is no JSON."""
    try:
        return convert.to_dict(request)
    except ValueError as error:
        raise InvalidRequest(f"cannot {what}: patch_json: {error}", field="patch") from error


def _refuse(context: grpc.ServicerContext, error: LongshoreError) -> NoReturn:
    code, message, entry = failures.encode(error)
    context.set_trailing_metadata((entry,))
    context.abort(code, message)
