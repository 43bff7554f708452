"""Who waits for what: the one place where flights and transfers change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from threading import Lock

from longshore.errors import DeadlineExceeded, Interrupted, LongshoreError, PullCancelled
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.failures import Failures
from longshore.lifecycle.flights import Flight, Interest, Transfer
from longshore.lifecycle.progress import Progress
from longshore.model.host import Image
from longshore.model.status import TransferStatus
from longshore.model.transfer import ImageSource, PullPolicy

LOG = logging.getLogger(__name__)

#: What ends a flight that did not fail.
_NO_FAILURE = (Interrupted, PullCancelled)
_NEXT_LIFE = "ask again when it has been started again; it goes on with what it has"


class Underway:
    """Thread-safe.

    Args:
        here: the image of a canonical name as it is on this node, None if it is not.
        timeout: seconds that a transfer may take.
    """

    def __init__(self, here: Callable[[str], Image | None], clock: Clock, timeout: float) -> None:
        self._here = here
        self._clock = clock
        self._timeout = timeout
        self._guard = Lock()
        self._flights: dict[Hashable, Flight] = {}
        self._transfers: dict[str, Transfer] = {}
        self._failures = Failures()
        self._ending = False

    def flight(self, id: Hashable, name: str, direction: str = "pull") -> Flight:
        """A new one, to `join`. Its progress, as long as no transfer has it, ends with it."""
        progress = Progress(direction, self._clock.now(), lambda: self._check_flight(flight))
        flight = Flight(id, name, progress)
        return flight

    def join(
        self, new: Flight, policy: PullPolicy, wake: Callable[[], None]
    ) -> tuple[Interest, bool]:
        """One who waits for the flight of this id, and whether that is the new one.

        Raises:
            Interrupted: the agent stops.
        """
        with self._guard:
            if self._ending:
                raise Interrupted(
                    f"cannot begin to transfer {new.name}: the agent stops", hint=_NEXT_LIFE
                )
            flight = self._flights.setdefault(new.id, new)
            interest = Interest(flight, policy, self._here, self._leave)
            flight.waiters[interest] = wake
        return interest, flight is new

    def arrived(self, name: str, policy: PullPolicy, image: Image) -> Interest:
        """One who need not wait."""
        flight = self.flight(object(), name)
        flight.image, flight.done = image, True
        flight.progress.enter("done", image.digest)
        return Interest(flight, policy, self._here, self._leave)

    def prefetched(self, interest: Interest) -> None:
        """This one never leaves; there need not be two of them."""
        flight = interest.flight
        with self._guard:
            if flight.prefetched:
                flight.waiters.pop(interest, None)
            else:
                flight.prefetched = True
                self._failures.forget(flight.name)
                self._note_failure(flight)

    def flights(self) -> Sequence[Flight]:
        """Oldest first."""
        with self._guard:
            return list(self._flights.values())

    def failures(self) -> Sequence[TransferStatus]:
        """Prefetches that came to nothing a while ago: nobody waited for them."""
        with self._guard:
            return self._failures.list(self._clock.now())

    def keys(self) -> set[str]:
        with self._guard:
            return set(self._transfers)

    def found(self, flight: Flight, source: ImageSource) -> None:
        """Its name means this."""
        with self._guard:
            flight.source = source

    def board(self, flight: Flight, source: ImageSource) -> Transfer | None:
        """Lets the flight wait for the transfer of what its name means; returns that if it is a
        new one, for somebody to begin with it."""
        with self._guard:
            if flight.done:
                return None
            there = self._transfers.get(source.key)
            if there is not None and not there.boarding:
                there.heirs.append(flight)
                return None
            transfer = there or self._transfer(source.key, "pull")
            self._transfers[source.key] = transfer
            _board(transfer, flight)
        return transfer if there is None else None

    def push(self, flight: Flight) -> Transfer:
        """A transfer that nobody else shares."""
        with self._guard:
            transfer = self._transfer(f"to {flight.name}", "push")
            _board(transfer, flight)
        return transfer

    def begin(self, transfer: Transfer) -> None:
        """Its time runs from now. Raises as `Watch.check`."""
        transfer.until = self._clock.timer() + self._timeout
        transfer.progress.check()
        transfer.progress.enter("moving")

    def names(self, transfer: Transfer) -> list[str]:
        """What the image is to be called: Glance's also by the name that was asked for."""
        with self._guard:
            return _names(transfer)

    def full(self, transfer: Transfer) -> list[str]:
        """Nobody boards any more; returns the names, also those that came late."""
        with self._guard:
            transfer.boarding = False
            return _names(transfer)

    def land(
        self, transfer: Transfer, image: Image | None, error: LongshoreError | None
    ) -> Sequence[Flight]:
        """It is over for all who wait for it; returns the flights that were too late."""
        with self._guard:
            transfer.boarding = False
            if self._transfers.get(transfer.key) is transfer:
                del self._transfers[transfer.key]
            flights, heirs = list(transfer.flights), list(transfer.heirs)
        self.finish(flights, image=None if error else image, error=error)
        return heirs

    def finish(
        self,
        flights: Iterable[Flight],
        *,
        image: Image | None = None,
        error: LongshoreError | None = None,
    ) -> None:
        """Wakes all who wait. What came first counts."""
        with self._guard:
            ended = [flight for flight in flights if not flight.done]
            wakes = [wake for flight in ended for wake in flight.waiters.values()]
            for flight in ended:
                self._end(flight, image, error)
        for flight in ended:
            _log(flight)
        for wake in wakes:
            wake()

    def stop(self) -> None:
        """Nobody waits any more: the next life goes on with it."""
        with self._guard:
            self._ending = True
            flights = list(self._flights.values())
        stops = "cannot finish the transfer: the agent stops"
        self.finish(flights, error=Interrupted(stops, hint=_NEXT_LIFE))

    def _leave(self, flight: Flight, interest: Interest) -> None:
        with self._guard:
            flight.waiters.pop(interest, None)
            if flight.done or flight.waiters:
                return
            why = f"cannot finish the transfer of {flight.name}: nobody waits for it any more"
            self._end(flight, None, PullCancelled(why, object=flight.name))
            transfer = flight.transfer
            if transfer is not None and all(one.done for one in transfer.flights):
                transfer.unwanted, transfer.boarding = True, False
        _log(flight)

    def _end(self, flight: Flight, image: Image | None, error: LongshoreError | None) -> None:
        """Under the guard."""
        self._flights.pop(flight.id, None)
        status = flight.status()
        if image is not None:
            name = flight.source.name if flight.source else image.name
            flight.image = replace(image, name=name)
            progress = flight.transfer.progress if flight.transfer else flight.progress
            progress.enter("done", image.digest if status.direction == "pull" else None)
            self._failures.forget(flight.name)
        flight.error, flight.done = error, True
        self._note_failure(flight)

    def _note_failure(self, flight: Flight) -> None:
        """Under the guard."""
        error = flight.error
        if flight.prefetched and error is not None and not isinstance(error, _NO_FAILURE):
            self._failures.note(flight.status(), error, self._clock.now())

    def _check_flight(self, flight: Flight) -> None:
        if self._ending:
            raise Interrupted(f"cannot finish the transfer of {flight.name}: the agent stops")
        if flight.done:
            raise PullCancelled(
                f"cannot finish the transfer of {flight.name}: nobody waits for it any more"
            )

    def _check(self, transfer: Transfer) -> None:
        name = transfer.flights[0].name
        if self._ending:
            raise Interrupted(f"cannot finish the transfer of {name}: the agent stops")
        if transfer.unwanted:
            raise PullCancelled(f"cannot finish the transfer of {name}: nobody waits for it")
        if transfer.until is not None and self._clock.timer() > transfer.until:
            raise DeadlineExceeded(
                f"cannot finish the transfer of {name}: it took more than {self._timeout:g} s",
                object=name,
                hint="what limits it is [images] pull_timeout",
            )

    def _transfer(self, key: str, direction: str) -> Transfer:
        progress = Progress(direction, self._clock.now(), lambda: self._check(transfer))
        transfer = Transfer(key, progress)
        return transfer


def _board(transfer: Transfer, flight: Flight) -> None:
    """A flight that nobody waits for any more makes the transfer unwanted."""
    transfer.flights.append(flight)
    flight.transfer = transfer
    transfer.unwanted = all(one.done for one in transfer.flights)


def _names(transfer: Transfer) -> list[str]:
    """Those that somebody still waits for."""
    waited = [flight for flight in transfer.flights if not flight.done]
    found = [(flight.source.name, flight.name) for flight in waited if flight.source]
    return list(dict.fromkeys(name for both in found for name in both))


def _log(flight: Flight) -> None:
    """Not under the guard: whoever reads the log may be slow."""
    status, error = flight.status(), flight.error
    if error is None:
        LOG.info("%s of %s: done, %d bytes", status.direction, flight.name, status.total)
        return
    level = logging.INFO if isinstance(error, _NO_FAILURE) else logging.WARNING
    LOG.log(level, "%s of %s ended: %s", status.direction, flight.name, error)
