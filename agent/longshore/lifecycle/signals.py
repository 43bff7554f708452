"""Signals that a caller sends to a container's first process.

Each is in the journal before it is sent, and answered after. An agent that dies in between sends
it once more if the same request is asked again: a signal is sent at least once for each request
that gets an answer, and twice at most by such an end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from signal import Signals as Numbers
from typing import Any

from longshore.errors import ContainerNotFound, InvalidRequest, LongshoreError
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.intents import Intent, admit, seen
from longshore.lifecycle.ports import Journal, Tasks, Transaction
from longshore.model.linux import signal_number
from longshore.model.record import Record
from longshore.model.request import SIGNAL, Request, Verb, check, goal_of
from longshore.model.requested import failed, succeeded
from longshore.model.state import after
from longshore.model.status import ContainerStatus

LOG = logging.getLogger(__name__)


def number_of(signal: str) -> int:
    """A name, with or without SIG, or a number. Raises InvalidRequest."""
    try:
        return signal_number(signal)
    except ValueError as error:
        raise InvalidRequest(
            f"cannot kill: {error}",
            field="signal",
            hint="a name, such as SIGHUP or HUP, or a number",
        ) from error


@dataclass(frozen=True)
class Signals:
    journal: Journal
    tasks: Tasks
    changes: Changes
    now: Callable[[], float]

    def send(self, request: Request, ref: str, number: int) -> ContainerStatus:
        """Nobody is kept from it: it also reaches one whose stop signal was sent already. To frozen
        processes it comes when they go on."""
        check(request, Verb.KILL, goal_of(Verb.KILL))
        asked = self.journal.requested(request.id)
        id = asked.container if asked else self.journal.find(ref)

        def change(tx: Transaction, present: Record | None, generation: int) -> Record:
            if present is None:
                raise ContainerNotFound(f"cannot kill container {ref}: there is none", object=ref)
            after(present.state, Verb.KILL, present.name)
            return present.but(generation=generation)

        arguments = {"signal": number, "ref": ref}
        intent = Intent(
            *(Verb.KILL, id, arguments, change, goal_of(Verb.KILL)),
            noted=SIGNAL,
            told=f"({_name(number)})",
        )
        with self.journal.transaction(durable=True) as tx:
            asked = seen(tx, request, intent)
            if asked is not None and asked.outcome is not None:
                return asked.result()
            record = admit(tx, request, intent, tx.get(id), self.now())
        try:
            self.tasks.kill(record.names, number)
        except LongshoreError as error:
            if not error.retry:
                self._answer(request.id, failed(error.to_dict()))
            raise
        told = f"{_name(number)} was sent to it by {request.origin}"
        LOG.info("container %s: %s (request %s)", id, told, request.id)
        record = self.journal.get(id) or record
        status = record.status()
        self._answer(request.id, succeeded(status))
        self.changes.add(record, record.state, kind="signalled", reason=told)
        return status

    def _answer(self, request_id: str, outcome: Mapping[str, Any]) -> None:
        with self.journal.transaction(durable=False) as tx:
            tx.answer(request_id, outcome)


def _name(number: int) -> str:
    try:
        return Numbers(number).name
    except ValueError:
        return f"signal {number}"
