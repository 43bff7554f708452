"""Deleting all containers that do not run: one request, a delete of its own for each.

Which containers it is about is journalled before the first of them goes, so that the same request
after a crash goes on with those, and says of all what came of them.

    prune REQUEST    their ids, until it is answered
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from longshore.errors import (
    ContainerNotFound,
    IllegalTransition,
    Interrupted,
    LongshoreError,
    StaleGeneration,
    Superseded,
)
from longshore.lifecycle.containers import Containers
from longshore.lifecycle.ports import Journal, Transaction
from longshore.model.filters import Filter, labels_match
from longshore.model.record import Record
from longshore.model.request import Request
from longshore.model.requested import Requested, fingerprint
from longshore.model.state import State
from longshore.model.status import ErrorStatus, PruneStatus

LOG = logging.getLogger(__name__)
_VERB, _OBJECT, _MEMORY = "prune_containers", "containers of the node", "prune "
#: Nothing of them runs, or is about to.
_ENDED = (State.CREATED, State.STOPPED, State.ERROR, State.FAILED)
#: Somebody else was faster: it runs again, or it is gone.
_PASSED_OVER = (IllegalTransition, ContainerNotFound, StaleGeneration, Superseded)


@dataclass(frozen=True)
class Pruning:
    """`now`: Unix seconds."""

    journal: Journal
    containers: Containers
    now: Callable[[], float]

    def prune(
        self, labels: Sequence[str], age: float, *, request_id: str, origin: str
    ) -> PruneStatus:
        """One that cannot be deleted is told of in `failures`, and the others go on.

        Raises:
            RequestConflict: something else was asked for under this id.
            Interrupted: the agent stops; the same request goes on.
        """
        arguments = {"labels": list(labels), "age": age}
        with self.journal.transaction(durable=True) as tx:
            asked = tx.requested(request_id)
            if asked is not None:
                asked.check_same(_VERB, _OBJECT, arguments)
                if asked.outcome is not None:
                    return PruneStatus.model_validate(asked.outcome["pruned"])
            ids = self._chosen(tx, request_id, labels, age)
            if asked is None:
                LOG.info("request %s of %s prunes %d containers", request_id, origin, len(ids))
                mark = fingerprint(_VERB, arguments)
                tx.ask(Requested(request_id, _OBJECT, _VERB, mark, 0, self.now()))
        status = self._delete(ids, request_id, origin)
        with self.journal.transaction(durable=True) as tx:
            tx.answer(request_id, {"pruned": status.to_dict()})
            tx.remember(_MEMORY + request_id, None)
        return status

    def _chosen(
        self, tx: Transaction, request_id: str, labels: Sequence[str], age: float
    ) -> Sequence[str]:
        noted = tx.recall(_MEMORY + request_id)
        if noted is not None:
            found: list[str] = json.loads(noted)
            return found
        for key in tx.recalled(_MEMORY):
            # Never asked again, and its request is forgotten.
            if tx.requested(key.removeprefix(_MEMORY)) is None:
                tx.remember(key, None)
        # The newest first: it may have volumes from an older one, which cannot go before it.
        ended = self.journal.list(Filter(states=tuple(map(str, _ENDED)), sort="-created"))
        ids = [one.id for one in ended if _is_meant(one, labels, self.now() - age)]
        tx.remember(_MEMORY + request_id, json.dumps(ids))
        return ids

    def _delete(self, ids: Sequence[str], request_id: str, origin: str) -> PruneStatus:
        deleted: list[str] = []
        failures: list[ErrorStatus] = []
        for id in ids:
            # Asked for again, each is answered with what came of it.
            request = Request(id=str(uuid.uuid5(uuid.UUID(request_id), id)), origin=origin)
            try:
                deleted.append(self.containers.delete(request, id).name)
            except Interrupted:
                raise
            except _PASSED_OVER as error:
                LOG.info("container %s is not pruned: %s", id, error)
            except LongshoreError as error:
                LOG.warning("cannot prune container %s: %s", id, error)
                failures.append(_about(id, error))
        return PruneStatus(containers=tuple(sorted(deleted)), failures=tuple(failures))


def _is_meant(record: Record, labels: Sequence[str], before: float) -> bool:
    ended = record.finished_at or record.created_at
    return ended <= before and labels_match(record.status().labels, labels)


def _about(id: str, error: LongshoreError) -> ErrorStatus:
    given: dict[str, Any] = error.to_dict()
    return ErrorStatus(**{**given, "object": given["object"] or id})
