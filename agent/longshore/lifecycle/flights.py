"""What is under way, and who waits for it.

    Interest ──▶ Flight (a name, and credentials for it) ──▶ Transfer (a key: what the name means)

Many wait for one flight; flights whose names turn out to mean the same share one transfer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from longshore import errors
from longshore.errors import ImageSourceUnavailable, LongshoreError
from longshore.lifecycle.progress import Progress
from longshore.model.host import Image
from longshore.model.status import TransferStatus
from longshore.model.transfer import ImageSource, PullPolicy


@dataclass(eq=False)
class Flight:
    """Changed by `Underway` alone, under its guard.

    Args:
        waiters: whom to wake when it is done.
        prefetched: one of the waiters is the node itself, who never leaves.
        source: what the name means; None until the registry or Glance has said so.
        transfer: what brings the content, once it is known that some has to be brought.
    """

    id: Hashable
    name: str
    progress: Progress
    waiters: dict[Interest, Callable[[], None]] = field(default_factory=dict)
    prefetched: bool = False
    source: ImageSource | None = None
    transfer: Transfer | None = None
    image: Image | None = None
    error: LongshoreError | None = None
    done: bool = False

    def status(self) -> TransferStatus:
        # Those who share a transfer see the same.
        progress = self.transfer.progress if self.transfer else self.progress
        return progress.status(self.name, len(self.waiters))


@dataclass(eq=False)
class Transfer:
    """Content on its way, for one flight or several; changed by `Underway` alone, under its guard.

    Args:
        heirs: flights that came when it took no more of them; they look again at its end.
        boarding: whether it takes more.
        unwanted: nobody waits for it any more.
        until: on the monotonic clock; None as long as it has not begun.
    """

    key: str
    progress: Progress
    flights: list[Flight] = field(default_factory=list)
    heirs: list[Flight] = field(default_factory=list)
    boarding: bool = True
    unwanted: bool = False
    until: float | None = None


@dataclass(frozen=True, eq=False)
class Interest:
    """One who waits for a flight. To be left by whoever joined, also when it is done.

    Args:
        here: the image of the flight's name as it is on this node, None if it is not.
    """

    flight: Flight
    policy: PullPolicy
    here: Callable[[str], Image | None]
    leaving: Callable[[Flight, Interest], None]

    @property
    def done(self) -> bool:
        return self.flight.done

    def status(self) -> TransferStatus:
        return self.flight.status()

    def leave(self) -> None:
        """Ends the flight if nobody else waits for it."""
        self.leaving(self.flight, self)

    def image(self) -> Image:
        """What was pulled, once it is done.

        Raises:
            LongshoreError: why it was not.
        """
        image = self.flight.image or self._fallback()
        if image is None:
            self.check()
            raise AssertionError("a flight that is done has an image or an error")
        return image

    def check(self) -> None:
        """Raises what the flight came to, if it failed: for each a copy of his own, since an
        error that is raised is written on."""
        if self.flight.error is not None:
            raise errors.from_dict(self.flight.error.to_dict())

    def _fallback(self) -> Image | None:
        """What is here is good enough for whoever does not insist, as long as nobody can say that
        it has changed."""
        asked_in_vain = isinstance(self.flight.error, ImageSourceUnavailable)
        if not asked_in_vain or self.flight.source or self.policy is PullPolicy.ALWAYS:
            return None
        return self.here(self.flight.name)
