"""Pulls and pushes: who asks for what is under way already waits for it.

A flight first finds out what its name means (many at once: that is a matter of one answer), then
either sees that this is here, or waits for its turn to bring it (a few at once: they share the
wire and the disk). What is here already waits for none of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from longshore.errors import ImageNotFound, LongshoreError
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.flights import Flight, Interest, Transfer
from longshore.lifecycle.holds import Holds
from longshore.lifecycle.line import Line
from longshore.lifecycle.naming import find, keep, kept, named
from longshore.lifecycle.pipeline import attempt
from longshore.lifecycle.ports import Images, ImageSources
from longshore.lifecycle.underway import Underway
from longshore.model.host import Image
from longshore.model.reference import GLANCE, is_glance, parse
from longshore.model.status import TransferStatus
from longshore.model.transfer import Auth, ImageSource, PullPolicy

#: Questions to registries and Glance at once, and to one of them: enough that one that does not
#: answer keeps nobody from another.
_ASKING = 32
_ASKING_ONE = 8


class Pulls:
    """Owns its threads; `stop` joins them.

    Args:
        parallel: how many images are moved at once.
        timeout: seconds that moving one may take.
    """

    def __init__(
        self,
        images: Images,
        sources: ImageSources,
        holds: Holds,
        clock: Clock,
        *,
        parallel: int,
        timeout: float,
    ) -> None:
        self._images = images
        self._sources = sources
        self._holds = holds
        self._clock = clock
        self._underway = Underway(partial(find, images), clock, timeout)
        self._asking = Line("pull-ask", _ASKING, _ASKING_ONE)
        self._moving = Line("pull-move", parallel)

    def join(
        self,
        name: str,
        policy: PullPolicy,
        auth: Auth,
        wake: Callable[[], None] = lambda: None,
        *,
        mend: bool = True,
    ) -> Interest:
        """Begins to pull the image, or joins those who wait for it already.

        Args:
            wake: called from any thread when it is done; not if it is done at once.
            mend: looks whether what is here is whole; not for whoever sees that himself.

        Raises:
            InvalidRequest: that is no image's name.
            ImageNotFound: it is not here, and the policy is never to pull it.
            Interrupted: the agent stops.
        """
        name = named(name)
        here = self._good_enough(name, policy)
        if here is not None and not mend:
            return self._underway.arrived(name, policy, here)
        # Who only mends what is here does not wait for those who ask.
        kind = None if here is None else policy
        new = self._underway.flight((name, auth, kind), name)
        interest, begins = self._underway.join(new, policy, wake)
        if begins and here is not None:
            self._look(new, "", self._mend, new, here, policy, auth)
        elif begins:
            self._look(new, _source(name), self._resolve, new, auth)
        return interest

    def prefetch(self, name: str, policy: PullPolicy, auth: Auth) -> TransferStatus:
        """Has it pulled though nobody waits for it; again and again is once. Raises like `join`."""
        interest = self.join(name, policy, auth)
        self._underway.prefetched(interest)
        return interest.status()

    def push(self, name: str, to: str, auth: Auth, wake: Callable[[], None]) -> Interest:
        """Begins to send an image; the interest's status has the digest at the end.

        Raises:
            InvalidRequest: one of the names is none.
            ImageNotFound: there is no such image here.
            Interrupted: the agent stops.
        """
        image, to = self._images.get(named(name)), named(to, "to")
        new = self._underway.flight(object(), to, "push")
        interest, _ = self._underway.join(new, PullPolicy.ALWAYS, wake)
        transfer = self._underway.push(new)
        self._move(transfer, partial(self._send, transfer, image, to, auth))
        return interest

    def transfers(self) -> Sequence[TransferStatus]:
        """All that is under way, oldest first, and prefetches that failed a while ago."""
        under_way = [flight.status() for flight in self._underway.flights()]
        return [*under_way, *self._underway.failures()]

    def names(self) -> set[str]:
        """Names of images that are being pulled."""
        flights = self._underway.flights()
        return {flight.name for flight in flights} | {
            flight.source.name for flight in flights if flight.source
        }

    def keys(self) -> set[str]:
        """Keys of what is being pulled; to be asked for while `Holds.collecting`."""
        return self._underway.keys()

    def stop(self, timeout: float) -> bool:
        """Lets go of everything, which the next life goes on with. Returns False if some transfer
        still ends after `timeout` seconds."""
        until = self._clock.timer() + timeout
        self._underway.stop()
        asked = self._asking.stop(timeout)
        return self._moving.stop(max(0.0, until - self._clock.timer())) and asked

    def _good_enough(self, name: str, policy: PullPolicy) -> Image | None:
        """What is here, if by the policy nobody is to be asked."""
        if policy is PullPolicy.NEVER:
            return self._images.get(name)
        # What a registry's name means is kept until somebody wants to know better; Glance's cache
        # holds as long as Glance says so.
        if policy is PullPolicy.IF_NOT_PRESENT and not is_glance(name):
            return find(self._images, name)
        return None

    def _mend(self, flight: Flight, here: Image, policy: PullPolicy, auth: Auth) -> None:
        flight.progress.check()
        try:
            self._images.unpack(here)
        except ImageNotFound:
            if policy is PullPolicy.NEVER:
                raise
            self._look(flight, _source(flight.name), self._resolve, flight, auth)
        else:
            self._underway.finish([flight], image=here)

    def _resolve(self, flight: Flight, auth: Auth) -> None:
        flight.progress.check()
        flight.progress.enter("resolving")
        source = self._sources.resolve(flight.name, auth, flight.progress)
        self._underway.found(flight, source)
        self._arrive_or_depart(flight, source)

    def _arrive_or_depart(self, flight: Flight, source: ImageSource) -> None:
        """It is here already, perhaps by another name; else somebody brings it."""
        here = None if flight.done else self._here(flight.name, source)
        if here is not None:
            self._underway.finish([flight], image=here)
            return
        transfer = self._underway.board(flight, source)
        if transfer is not None:
            self._move(transfer, partial(self._bring, transfer, source))

    def _here(self, name: str, source: ImageSource) -> Image | None:
        there = find(self._images, name)
        called = there is not None and source.key in (there.digest, there.key)
        for image in [there] if there is not None and called else self._images.list():
            if source.key in (image.digest, image.key):
                try:
                    self._images.unpack(image)
                    if not called:
                        self._name([name, source.name], image)
                except ImageNotFound:
                    continue  # Its content is gone, or somebody has just removed it.
                return image
        return None

    def _name(self, names: Iterable[str], image: Image) -> None:
        for name in dict.fromkeys(names):
            keep(self._images, name, image.digest)
            self._images.tag(image.name, name)

    def _bring(self, transfer: Transfer, source: ImageSource) -> None:
        images: list[Image] = []
        error = attempt(f"pull {source.name}", lambda: images.append(self._store(transfer, source)))
        self._land(transfer, images[0] if images else None, error)

    def _store(self, transfer: Transfer, source: ImageSource) -> Image:
        with self._holds.bringing():
            # Whoever collects from now on has its key.
            self._underway.begin(transfer)
        names = self._underway.names(transfer)
        with kept(self._images, dict.fromkeys(names, source.key)):
            image = self._images.store(source, transfer.progress, names)
        late = [name for name in self._underway.full(transfer) if name not in names]
        self._name(late, image)
        return image

    def _send(self, transfer: Transfer, image: Image, to: str, auth: Auth) -> None:
        def send() -> None:
            self._underway.begin(transfer)
            with self._images.open(image.name) as content:
                digest = self._sources.push(to, content, auth, transfer.progress)
            transfer.progress.enter("done", digest)

        self._land(transfer, image, attempt(f"push {to}", send))

    def _move(self, transfer: Transfer, work: Callable[[], None]) -> None:
        error = attempt("begin a transfer", self._moving.put, work)
        if error is not None:
            self._land(transfer, None, error)

    def _land(self, transfer: Transfer, image: Image | None, error: LongshoreError | None) -> None:
        for heir in self._underway.land(transfer, image, error):
            self._look(heir, "", self._arrive_or_depart, heir, heir.source)

    def _look(
        self, flight: Flight, lane: str, work: Callable[..., None], *arguments: object
    ) -> None:
        """Has somebody else do what the flight waits for; nobody who asks a source gets into the
        way of what only this node is looked at for, which has the lane ''."""
        self._or_fail(
            flight, self._asking.put, partial(self._or_fail, flight, work, *arguments), lane
        )

    def _or_fail(self, flight: Flight, work: Callable[..., None], *arguments: object) -> None:
        error = attempt(f"pull {flight.name}", work, *arguments)
        if error is not None:
            self._underway.finish([flight], error=error)


def _source(name: str) -> str:
    """Who is asked for an image."""
    return GLANCE if is_glance(name) else parse(name).domain
