"""Named volumes: made by a verb, or by the first container that names one; removed by a verb alone.

The journal has a row for each, and says with the claim `volume NAME` which containers have it.
What it remembers beside that:

    volume there NAME      its folder was seen, so that its absence is a loss
    volume removed NAME    its row is gone, its folder not for sure; until it is, the name is taken
    volume leaving NAME    what it was, until the last of it is gone
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longshore.errors import HostBusy, LongshoreError, VolumeExists, VolumeInUse, VolumeNotFound
from longshore.lifecycle.pipeline import attempt
from longshore.lifecycle.ports import Host, Journal, Transaction
from longshore.lifecycle.slots import Slots
from longshore.model.mounts import NamedVolume
from longshore.model.requested import Requested, fingerprint
from longshore.model.spec import ContainerSpec
from longshore.model.status import VolumeStatus
from longshore.model.volume import Volume

LOG = logging.getLogger(__name__)
_THERE, _REMOVED, _LEAVING = "volume there ", "volume removed ", "volume leaving "


def claim_named(tx: Transaction, spec: ContainerSpec, now: float) -> None:
    """Claims the volumes that a spec names; one that the journal has not got is new in it.

    Raises:
        HostBusy: one is being removed.
    """
    names = {one.name for one in spec.mounts if isinstance(one, NamedVolume) and one.name}
    known = tx.volumes() if names else {}
    for name in names:
        if name not in known:
            _check_not_leaving(tx, name)
            tx.put_volume(Volume(name, now))
        tx.claim(_kind(name), spec.id, spec.id)


def _slots() -> Slots:
    return Slots(lambda name: None)


@dataclass(frozen=True)
class Volumes:
    """The verbs, and what the tick has to do. `now`: Unix seconds.

    `request_id`: the same one again is the same request, and is answered with what came of it.
    """

    host: Host
    journal: Journal
    now: Callable[[], float]
    #: Who holds a volume's place here makes its row and its folder, or takes both away.
    _places: Slots = field(default_factory=_slots)
    #: Who holds this removes it, to the last file.
    _removals: Slots = field(default_factory=_slots)

    def create(self, name: str, labels: Mapping[str, str], *, request_id: str) -> VolumeStatus:
        """Raises:
        VolumeExists: there is one with other labels.
        HostBusy: one of that name is being removed.
        HostFailed, Exhausted: it cannot be made.
        RequestConflict: something else was asked for under this id.
        """
        asked = _Asked(request_id, "create_volume", name, {"labels": dict(labels)})
        with self._places.hold(name):
            with self.journal.transaction(durable=True) as tx:
                answer = asked.answer(tx)
                if answer is not None:
                    return answer
                there = tx.volumes().get(name)
                is_new = there is None
                if there is None:
                    _check_not_leaving(tx, name)
                    there = Volume(name, self.now(), dict(labels))
                    tx.put_volume(there)
                    LOG.info("volume %s was created", name)
                elif dict(there.labels) != dict(labels):
                    raise VolumeExists(
                        f"cannot create volume {name}: it is there, with other labels",
                        field="labels",
                        object=name,
                    )
                status = self._status(tx, there)
            try:
                self.host.named.make(name)
            except LongshoreError:
                if is_new:
                    self._take_back(name)
                raise
            with self.journal.transaction(durable=False) as tx:
                asked.note(tx, status, self.now())
        return status

    def list(self) -> Sequence[VolumeStatus]:
        with self.journal.transaction(durable=False) as tx:
            return [self._status(tx, one) for one in tx.volumes().values()]

    def show(self, name: str) -> VolumeStatus:
        with self.journal.transaction(durable=False) as tx:
            volume = tx.volumes().get(name)
            if volume is None:
                raise _not_there(name, "show")
            return self._status(tx, volume)

    def remove(self, name: str, *, request_id: str) -> VolumeStatus:
        """With its content; once that was begun it is carried through, whatever happens. As long as
        it has not come to its end, who asks for the same has asked for this removal.

        Raises:
            VolumeNotFound: there is none.
            VolumeInUse: `details['containers']` have it.
            HostBusy: somebody is at it.
            DeadlineExceeded, HostFailed: it is gone, and not all of its content yet; the tick goes
                on with that.
            RequestConflict: something else was asked for under this id.
        """
        asked = _Asked(request_id, "remove_volume", name)
        with self._removals.hold_if_free(name) as mine:
            if mine is None:
                raise HostBusy(
                    f"cannot remove volume {name}: that is being done already",
                    object=name,
                    hint="ask again in a moment",
                )
            with self._places.hold(name):
                with self.journal.transaction(durable=True) as tx:
                    status = asked.answer(tx)
                    if status is None:
                        status = self._given_up(tx, name)
                        asked.note(tx, status, self.now())
                self._put_aside(name)
            self._clear(name)
        return status

    def look(self) -> Sequence[str]:
        """Goes on with what was being removed; returns what is wrong with the rest."""
        return [*self._left(), *self._amiss()]

    def _given_up(self, tx: Transaction, name: str) -> VolumeStatus:
        """What it was; from now on the name is nobody's, and the folder to be removed."""
        volume = tx.volumes().get(name)
        if volume is None:
            leaving = tx.recall(_LEAVING + name)
            if leaving is None:
                raise _not_there(name, "remove")
            return VolumeStatus.model_validate_json(leaving)
        status = self._status(tx, volume)
        if status.used_by:
            raise VolumeInUse(
                f"cannot remove volume {name}: used by {', '.join(status.used_by)}",
                object=name,
                hint="delete those containers first",
                details={"containers": list(status.used_by)},
            )
        tx.forget_volume(name)
        tx.remember(_THERE + name, None)
        tx.remember(_REMOVED + name, "1")
        tx.remember(_LEAVING + name, status.model_dump_json())
        LOG.info("volume %s is removed", name)
        return status

    def _left(self) -> Iterator[str]:
        with self.journal.transaction(durable=False) as tx:
            leaving = [one.removeprefix(_LEAVING) for one in tx.recalled(_LEAVING)]
        for name in sorted({*leaving, *self.host.named.aside()}):
            with self._removals.hold_if_free(name) as mine:
                if mine is None:
                    continue  # who removes it is at it
                done: list[bool] = []
                error = attempt(f"remove volume {name}", lambda: done.append(self._go_on(name)))  # noqa: B023 - called at once
            if error is not None:
                yield f"could not remove volume {name} yet: {error}"
            elif done == [True]:
                yield f"removed what was left of volume {name}"

    def _amiss(self) -> Iterator[str]:
        there = self.host.named.list()
        with self.journal.transaction(durable=False) as tx:
            known = tx.volumes().keys()
            seen = {one.removeprefix(_THERE) for one in tx.recalled(_THERE)}
        for name in sorted((there - known) | (there - seen) | (known & seen - there)):
            wrong = self._look_at(name)
            if wrong is not None:
                yield wrong

    def _look_at(self, name: str) -> str | None:
        """What is wrong with it, when nobody makes or removes it."""
        with self._places.hold(name):
            # First the folder, then its row: a container that is new makes the row first.
            is_there = name in self.host.named.list()
            with self.journal.transaction(durable=False) as tx:
                known = name in tx.volumes()
                seen = tx.recall(_THERE + name) is not None
                removed = tx.recall(_REMOVED + name) is not None
                if is_there and known:
                    tx.remember(_THERE + name, "1")
        if is_there and not known and not removed:
            return f"the folder of volume {name}, unknown to the journal, was left alone"
        if known and seen and not is_there:
            return f"volume {name} has lost its folder; its next use makes it again, empty"
        return None

    def _go_on(self, name: str) -> bool:
        """With a removal that an earlier life, or one that ran out of time, has begun."""
        with self._places.hold(name):
            self._put_aside(name)
        return self._clear(name)

    def _put_aside(self, name: str) -> None:
        """Until that is noted nobody makes a new one of that name, which would be put aside too."""
        with self.journal.transaction(durable=False) as tx:
            removed = tx.recall(_REMOVED + name) is not None
        if removed:
            self.host.named.put_aside(name)
            with self.journal.transaction(durable=False) as tx:
                tx.remember(_REMOVED + name, None)

    def _clear(self, name: str) -> bool:
        """Whether there was anything."""
        cleared = self.host.named.clear(name)
        with self.journal.transaction(durable=False) as tx:
            tx.remember(_LEAVING + name, None)
        return cleared

    def _take_back(self, name: str) -> None:
        """It could not be made, unless a container that names it has come meanwhile."""
        with self.journal.transaction(durable=False) as tx:
            if not tx.claims(_kind(name)):
                tx.forget_volume(name)

    def _status(self, tx: Transaction, volume: Volume) -> VolumeStatus:
        users = tx.claims(_kind(volume.name)).values()
        return VolumeStatus(
            name=volume.name,
            labels=dict(volume.labels),
            created_at=volume.created_at,
            path=str(self.host.layout.named_volume(volume.name)),
            used_by=tuple(sorted(one.name if (one := tx.get(id)) else id for id in users)),
        )


def _kind(name: str) -> str:
    return f"volume {name}"


@dataclass(frozen=True)
class _Asked:
    """A request for a volume. Its answer is in the journal beside those for containers."""

    id: str
    verb: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, tx: Transaction) -> VolumeStatus | None:
        """Raises RequestConflict."""
        noted = tx.requested(self.id)
        if noted is None:
            return None
        noted.check_same(self.verb, self._object, self._whole)
        assert noted.outcome is not None
        return VolumeStatus.model_validate(noted.outcome["volume"])

    def note(self, tx: Transaction, status: VolumeStatus, now: float) -> None:
        asked = fingerprint(self.verb, self._whole)
        tx.ask(Requested(self.id, self._object, self.verb, asked, 0, now))
        tx.answer(self.id, {"volume": status.to_dict()})

    @property
    def _object(self) -> str:
        return f"volume {self.name}"

    @property
    def _whole(self) -> Mapping[str, Any]:
        return {**self.arguments, "name": self.name}


def _not_there(name: str, verb: str) -> VolumeNotFound:
    return VolumeNotFound(f"cannot {verb} volume {name}: there is none", object=name)


def _check_not_leaving(tx: Transaction, name: str) -> None:
    if tx.recall(_REMOVED + name) is not None:
        raise HostBusy(
            f"cannot create volume {name}: one of that name is being removed",
            object=name,
            hint="the agent goes on with it; ask again in a moment",
        )
