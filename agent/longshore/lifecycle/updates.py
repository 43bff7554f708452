"""Another configuration for a container that is there: how an update happens.

1. `Updates` makes the new spec of the patch (`planning.py`; a rollback takes that of an older
   version), and has it checked as that of a create. In one durable transaction it gets a number
   and is kept with the versions before it, and what it needs of the node is claimed beside what
   the container has (`holding.py`): addresses and ports stay, wherever it leaves the choice.
2. What the kernel or the agent can change while its process runs is in the record at once, and the
   act ADJUST has the kernel keep the new limits. Else it is pending, and the container is to be
   started again: once its process has ended, the new version is taken up in the same transaction
   that says so (`trials.py`). With `apply` restart it stays pending until something else ends its
   process. One without a process has it at once, and its next start makes what it takes.
3. That start is REMAKE where the files or the record of its create say something else now: it
   runs AROUND, whose steps complete what is there around the writable layer, before RUN; and
   undoes RUN alone. Then it is on trial: with a health check until it is healthy, else for a
   while. If its start fails, its process ends, or it is not healthy in time, the version before
   it is taken back, and started in the same way, however often that takes for what may pass.
4. Once one of the two is in use, whoever asked is answered, and what only the other one needed is
   given back.

The agent may die at any line: the record says which version it has, which is pending, and which
comes back; the versions are in the journal until none of them speaks of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from longshore.errors import (
    ContainerNotFound,
    HostBusy,
    InvalidRequest,
    InvalidSpec,
    LongshoreError,
)
from longshore.lifecycle.holding import held, needed, version_of
from longshore.lifecycle.intents import Intent, is_to_do
from longshore.lifecycle.planning import Planned, Planning, as_update
from longshore.lifecycle.ports import Journal, Transaction
from longshore.lifecycle.ports.storage import Files
from longshore.lifecycle.versioning import (
    ALIVE,
    AT_RESTART,
    NOW,
    Verdicts,
    contents_of,
    keep_present,
    next_number,
    placed,
    present_version,
    supersede,
)
from longshore.model import patches
from longshore.model.injected import Secret
from longshore.model.record import Record
from longshore.model.request import ACCEPTED, Request, Verb, check, goal_of
from longshore.model.spec import ContainerSpec
from longshore.model.state import after
from longshore.model.status import ContainerStatus
from longshore.model.versions import Remake, Version

_PROMPT = frozenset({patches.LIVE, "nothing"})


@dataclass(frozen=True)
class Wanted:
    """What is to become of a container, as it was when that was found out.

    Args:
        contents: of the files of the new spec; `before`: of those of the present one.
    """

    record: Record
    planned: Planned
    sealed: Mapping[str, str]
    contents: tuple[str, ...]
    before: tuple[str, ...]

    def is_of(self, present: Record) -> bool:
        """Whether that is still so."""
        return _versions(self.record) == _versions(present)


@dataclass(frozen=True)
class Updates:
    """Args:
    carry_out: journals an intent and has it brought about.
    """

    journal: Journal
    planning: Planning
    files: Files
    verdicts: Verdicts
    now: Callable[[], float]
    carry_out: Callable[[Request, Intent], ContainerStatus]

    def update(
        self,
        request: Request,
        ref: str,
        patch: Mapping[str, Any],
        *,
        apply: str = NOW,
        still: Callable[[], bool] = lambda: True,
    ) -> ContainerStatus:
        """As `Service.update`."""

        def want(record: Record) -> Wanted:
            planned = self.planning.patched(record, patch)
            return self._wanted(record, planned, self._contents(record))

        shown = {**patch, **_hidden(patch)} if "secrets" in patch else dict(patch)
        marks = self.planning.admission.host.secrets.mark(_secrets(patch))
        arguments = {"patch": shown, "apply": apply, **({"secrets": marks} if marks else {})}
        return self._change(request, Verb.UPDATE, ref, arguments, want, apply, still)

    def rollback(
        self,
        request: Request,
        ref: str,
        version: int | None = None,
        *,
        apply: str = NOW,
        still: Callable[[], bool] = lambda: True,
    ) -> ContainerStatus:
        """As `Service.rollback`."""

        def want(record: Record) -> Wanted:
            former = self._former(record, version)
            spec = former.spec.model_copy(update={"name": record.name})
            planned = self.planning.planned(record, self.planning.as_asked(spec), former.sealed)
            return self._wanted(record, planned, (former.spec, former.contents))

        arguments = {"version": version, "apply": apply}
        return self._change(request, Verb.ROLLBACK, ref, arguments, want, apply, still)

    def _change(
        self,
        request: Request,
        verb: Verb,
        ref: str,
        arguments: Mapping[str, Any],
        want: Callable[[Record], Wanted],
        apply: str,
        still: Callable[[], bool],
    ) -> ContainerStatus:
        check(request, verb, goal_of(verb))
        if apply not in (NOW, AT_RESTART):
            raise InvalidRequest(
                f"cannot {verb}: apply must be '{NOW}' or '{AT_RESTART}'", field="apply"
            )
        asked = self.journal.requested(request.id)
        id = asked.container if asked else self.journal.find(ref)
        present = self.journal.get(id)
        wanted: Wanted | None = None
        if present is not None and is_to_do(asked, verb, present):
            after(present.state, verb, present.name)
            wanted = want(present)

        def change(tx: Transaction, present: Record | None, generation: int) -> Record:
            if present is None:
                raise ContainerNotFound(f"cannot {verb} container {ref}: there is none", object=ref)
            after(present.state, verb, present.name)
            if wanted is None or not wanted.is_of(present):
                raise HostBusy(
                    f"cannot {verb} container {present.name}: it has just got another version",
                    object=present.name,
                )
            record = present.but(generation=generation)
            return self._with(tx, record, wanted, request, apply)

        told = _told(wanted.planned) if wanted else ""
        intent = Intent(verb, id, {**arguments, "ref": ref}, change, goal_of(verb), told=told)
        try:
            status = self.carry_out(replace(request, wait=ACCEPTED), intent)
        except LongshoreError as error:
            raise as_update(error) from error
        return status if request.wait == ACCEPTED else self.verdicts.wait(request.id, id, still)

    def _wanted(
        self, record: Record, planned: Planned, files: tuple[ContainerSpec, Sequence[str]]
    ) -> Wanted:
        """`files`: the spec that those come from whose content stays, and that.

        Raises:
            InvalidSpec: there is a field that no update changes.
            LongshoreError: why the node does not take it.
        """
        never = [one for one in planned.changes if one.when == patches.NEVER]
        if never:
            raise InvalidSpec(
                f"cannot update container {record.name}: {never[0].field}: {never[0].why}",
                field=never[0].field,
                object=record.name,
                details={"faults": [{"field": one.field, "why": one.why} for one in never]},
            )
        admission = self.planning.admission
        try:
            admission.check_host(planned.after)
            sealed = {**planned.sealed, **admission.sealed(planned.after)}
        except LongshoreError as error:
            raise as_update(error) from error
        kept = {one.target: text for one, text in zip(files[0].files, files[1], strict=True)}
        contents = tuple(
            kept[one.target] if one.content is None else one.content for one in planned.after.files
        )
        return Wanted(record, planned, sealed, contents, contents_of(record, self.files))

    def _with(
        self, tx: Transaction, record: Record, wanted: Wanted, request: Request, apply: str
    ) -> Record:
        """The record with the new version, or what leads to it."""
        planned, now = wanted.planned, self.now()
        if not planned.changes:
            if record.pending is None:
                return record
            record = record.but(pending=None)
            self.planning.holding.only(tx, record, now)
            return record
        is_prompt = planned.when in _PROMPT
        if is_prompt and apply == NOW and record.state in ALIVE and record.trial is not None:
            raise HostBusy(
                f"cannot update container {record.name}: version {record.version} is on trial",
                object=record.name,
                hint="ask again in a moment",
            )
        keep_present(tx, record, wanted.before)
        sealed = planned.sealed
        facts = self.planning.holding.claim(tx, record, planned.asked, planned.after, sealed, now)
        version = Version(
            number=next_number(tx, record),
            spec=planned.after.without_values(),
            sealed=wanted.sealed,
            contents=wanted.contents,
            at=now,
            by=request.origin,
        )
        tx.put_version(record.id, version, needed(record) | {version.number})
        supersede(tx, record)
        remake = Remake.PREPARE if planned.when == patches.RECREATE else Remake.NOTHING
        new = held(facts, version.number, remake)
        return placed(record, version, new, apply=apply, is_prompt=is_prompt)

    def _former(self, record: Record, number: int | None) -> Version:
        with self.journal.transaction(durable=False) as tx:
            known = {one.number: one for one in tx.versions(record.id)}
        if number is None:
            good = [
                one.number
                for one in known.values()
                if one.number < record.version and one.taken_back is None
            ]
            number = max(good, default=None)
        if number == record.version and number not in known:
            return present_version(record, contents_of(record, self.files))
        if number is None or number not in known:
            which = "an earlier version" if number is None else f"a version {number}"
            raise InvalidRequest(
                f"cannot roll container {record.name} back: it has not got {which}",
                field="version",
                object=record.name,
                hint=f"it has {', '.join(map(str, known)) or record.version}",
            )
        return known[number]

    def _contents(self, record: Record) -> tuple[ContainerSpec, Sequence[str]]:
        """Of the files of the version that a patch is for."""
        if record.pending is not None:
            with self.journal.transaction(durable=False) as tx:
                pending = version_of(tx, record, record.pending.number)
            return pending.spec, pending.contents
        return record.spec, contents_of(record, self.files)


def _versions(record: Record) -> tuple[Any, ...]:
    return record.version, record.pending, record.trial, record.spec


def _told(planned: Planned) -> str:
    fields = [one.field for one in planned.changes]
    more = f" and {len(fields) - 3} more" if len(fields) > 3 else ""
    return f"({', '.join(fields[:3])}{more})" if fields else "(nothing)"


def _secrets(patch: Mapping[str, Any]) -> Sequence[Secret]:
    """Those of a patch that bring a value, as far as they are any."""
    found = []
    for one in patch.get("secrets") or ():
        if isinstance(one, Mapping) and isinstance(one.get("value"), str):
            try:
                found.append(Secret.model_validate_json(json.dumps(dict(one))))
            except ValueError:
                continue  # what comes of the patch is no spec, and is refused for that
    return found


def _hidden(patch: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its secrets without their values: what identifies the request is journalled."""
    secrets = patch["secrets"]
    if not isinstance(secrets, Sequence) or isinstance(secrets, str):
        return {}
    return {
        "secrets": [
            {key: value for key, value in one.items() if key != "value"}
            if isinstance(one, Mapping)
            else one
            for one in secrets
        ]
    }
