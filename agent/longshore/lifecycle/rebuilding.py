"""Another image for a container that is there: its layer goes, all else stays.

The image is here before anything is stopped. What follows goes the way of an update (`updates.py`),
but for two things: its next start is REBUILD, which removes the layer and makes one of the new
image; and nothing is on trial, since the layer of before is gone. A start that fails leaves it in
`error`, and another rebuild mends that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from longshore.errors import ContainerNotFound, HostBusy, LongshoreError
from longshore.lifecycle.fetches import Fetches
from longshore.lifecycle.holding import held, needed, version_of
from longshore.lifecycle.holds import Holds
from longshore.lifecycle.intents import Intent, is_to_do
from longshore.lifecycle.naming import named
from longshore.lifecycle.planning import Planning, as_update
from longshore.lifecycle.ports import Journal, Transaction
from longshore.lifecycle.ports.storage import Files
from longshore.lifecycle.versioning import (
    NOW,
    contents_of,
    keep_present,
    next_number,
    placed,
    supersede,
)
from longshore.model.host import Image
from longshore.model.record import Record
from longshore.model.reference import canonical, is_glance, parse
from longshore.model.request import Request, Verb, check, goal_of
from longshore.model.spec import ContainerSpec
from longshore.model.state import after
from longshore.model.status import ContainerStatus
from longshore.model.transfer import Auth, PullPolicy
from longshore.model.usage import used_key
from longshore.model.versions import Remake, Version


@dataclass(frozen=True)
class _New:
    """What it is made of, and `before`: the contents of its files."""

    record: Record
    spec: ContainerSpec
    sealed: dict[str, str]
    before: tuple[str, ...]
    contents: tuple[str, ...]
    image: Image


@dataclass(frozen=True)
class Rebuilding:
    """Args:
    carry_out: journals an intent and brings it about.
    """

    journal: Journal
    planning: Planning
    files: Files
    fetches: Fetches
    holds: Holds
    now: Callable[[], float]
    carry_out: Callable[[Request, Intent], ContainerStatus]

    def rebuild(
        self,
        request: Request,
        ref: str,
        image: str,
        policy: PullPolicy,
        auth: Auth,
    ) -> ContainerStatus:
        """As `Service.rebuild`."""
        check(request, Verb.REBUILD, goal_of(Verb.REBUILD))
        name = named(image, "image")
        asked = self.journal.requested(request.id)
        id = asked.container if asked else self.journal.find(ref)
        present = self.journal.get(id)
        with ExitStack() as held_names:
            new: _New | None = None
            if present is not None and is_to_do(asked, Verb.REBUILD, present):
                after(present.state, Verb.REBUILD, present.name)
                # From the look at the image to the record that says so nobody removes it.
                held_names.enter_context(self.holds.hold(name))
                new = self._new(present, image, policy, auth)
                held_names.enter_context(self.holds.hold(new.image.name))

            def change(tx: Transaction, present: Record | None, generation: int) -> Record:
                if present is None:
                    raise ContainerNotFound(
                        f"cannot rebuild container {ref}: there is none", object=ref
                    )
                after(present.state, Verb.REBUILD, present.name)
                if new is None or (new.record.version, new.record.pending) != (
                    present.version,
                    present.pending,
                ):
                    raise HostBusy(
                        f"cannot rebuild container {present.name}: it has just got another version",
                        object=present.name,
                    )
                return self._with(tx, present.but(generation=generation), new, request)

            arguments = {"image": image, "pull": policy.value, "ref": ref}
            intent = Intent(
                *(Verb.REBUILD, id, arguments, change, goal_of(Verb.REBUILD)), told=f"({image})"
            )
            return self.carry_out(request, intent)

    def _new(self, record: Record, name: str, policy: PullPolicy, auth: Auth) -> _New:
        """Raises LongshoreError: why it cannot be made of that image."""
        spec, sealed, contents = record.spec, record.sealed, contents_of(record, self.files)
        before = contents
        if record.pending is not None:
            with self.journal.transaction(durable=False) as tx:
                version = version_of(tx, record, record.pending.number)
            spec, sealed, contents = version.spec, version.sealed, version.contents
        auth = _auth(spec, name, auth)
        spec = spec.but(name=record.name, image=name, pull=policy.value, image_credential=auth.name)
        try:
            self.planning.admission.check_host(spec)
            image = self.fetches.bring(canonical(name), policy, auth)
        except LongshoreError as error:
            raise as_update(error) from error
        return _New(record, spec, dict(sealed), before, contents, image)

    def _with(self, tx: Transaction, record: Record, new: _New, request: Request) -> Record:
        keep_present(tx, record, new.before)
        version = Version(
            number=next_number(tx, record),
            spec=new.spec,
            sealed=new.sealed,
            contents=new.contents,
            at=self.now(),
            by=request.origin,
        )
        tx.put_version(record.id, version, needed(record) | {version.number})
        supersede(tx, record)
        tx.remember(used_key(new.image.digest), str(self.now()))
        has = record.facts
        if record.pending is not None:
            waiting = record.pending
            has = has.model_copy(
                update={"nics": waiting.nics, "ports": waiting.ports, "ids": waiting.ids}
            )
        made = held(has, version.number, Remake.LAYER).model_copy(update={"image": new.image})
        record = record.but(error=None)
        placed_so = placed(record, version, made, apply=NOW, is_prompt=False)
        # What was on trial is not any more.
        self.planning.holding.only(tx, placed_so, self.now())
        return placed_so


def _auth(spec: ContainerSpec, image: str, asked: Auth) -> Auth:
    """What the image that it has came with, for another of the same source, unless something else
    is asked for."""
    if asked != Auth() or _source(image) != _source(spec.image):
        return asked
    return Auth(name=spec.image_credential)


def _source(image: str) -> str | None:
    """The registry; None: Glance."""
    return None if is_glance(image) else parse(canonical(image)).domain
