"""Another name for a container: in the journal alone, so at once and in nearly every state."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from longshore.errors import ContainerNotFound, NameInUse
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.intents import Intent, admit, seen
from longshore.lifecycle.ports import Journal, Transaction
from longshore.model.record import Record
from longshore.model.request import Request, Verb, check, goal_of
from longshore.model.requested import succeeded
from longshore.model.spec import ContainerSpec
from longshore.model.state import after
from longshore.model.status import ContainerStatus
from longshore.model.values import is_host_name

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Renames:
    journal: Journal
    changes: Changes
    now: Callable[[], float]

    def rename(self, request: Request, ref: str, name: str) -> ContainerStatus:
        """What its processes see stays: one whose host name was its name keeps that, if it is one
        that could have been asked for.

        Raises:
            NameInUse: by another container.
        """
        check(request, Verb.RENAME, goal_of(Verb.RENAME))
        asked = self.journal.requested(request.id)
        id = asked.container if asked else self.journal.find(ref)

        def change(tx: Transaction, present: Record | None, generation: int) -> Record:
            if present is None:
                raise ContainerNotFound(f"cannot rename container {ref}: there is none", object=ref)
            after(present.state, Verb.RENAME, present.name)
            if holder := tx.claim("name", name, id):
                raise NameInUse(
                    f"cannot rename container {present.name} to {name}: the name is taken by "
                    f"container {holder}",
                    field="name",
                    object=name,
                )
            if present.name != name:
                tx.give_back("name", present.name, id)
            return present.but(spec=_renamed(present, name), generation=generation)

        arguments = {"name": name, "ref": ref}
        intent = Intent(Verb.RENAME, id, arguments, change, goal_of(Verb.RENAME))
        with self.journal.transaction(durable=True) as tx:
            asked, before = seen(tx, request, intent), tx.get(id)
            if asked is not None and asked.outcome is not None:
                return asked.result()
            record = admit(tx, request, intent, before, self.now())
            status = record.status()
            tx.answer(request.id, succeeded(status))
        assert before is not None
        told = f"renamed from {before.name} to {name} by {request.origin}"
        LOG.info("container %s: %s (request %s)", id, told, request.id)
        self.changes.add(record, record.state, kind="renamed", reason=told)
        return status


def _renamed(record: Record, name: str) -> ContainerSpec:
    spec = record.spec
    own = spec.hostname
    if own is None and not spec.host_network and is_host_name(spec.name):
        own = spec.name
    return spec.model_copy(update={"name": name, "hostname": own})
