"""How a create comes by its image: who asked waits at the door, the agent itself comes again.

What is kept here of a container is gone when its create has come to something: what it waits for,
and the credential that its request brought, which is written down nowhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from longshore.errors import ImageNotFound, ImageSourceUnavailable, Superseded
from longshore.lifecycle.flights import Interest
from longshore.lifecycle.pipeline import Postponed
from longshore.lifecycle.pulls import Pulls
from longshore.model.host import Image
from longshore.model.record import Record
from longshore.model.transfer import Auth, Credential, PullPolicy


@dataclass(frozen=True)
class Waiting:
    """How one who asked waits for an image.

    Args:
        wake: rings, from any thread, for `wait` to return.
        superseded: whether something newer is wanted meanwhile.
        say: tells whoever looks what is waited for.
    """

    wake: Callable[[], None]
    wait: Callable[[], None]
    superseded: Callable[[], bool]
    say: Callable[[str], None]


class Fetches:
    """Thread-safe; for one container one thread at a time, as `Converge` has it."""

    def __init__(self, pulls: Pulls) -> None:
        self._pulls = pulls
        self._guard = threading.Lock()
        self._credentials: dict[str, Credential] = {}
        self._told: dict[str, Interest] = {}

    def trust(self, id: str, credential: Credential | None) -> None:
        """The credential for the image of that container, in place of what was there."""
        with self._guard:
            self._credentials.pop(id, None)
            if credential is not None:
                self._credentials[id] = credential

    def forget(self, id: str) -> None:
        """Its create has come to something: nothing is waited for any more."""
        with self._guard:
            self._credentials.pop(id, None)
            told = self._told.pop(id, None)
        if told is not None:
            told.leave()

    def bring(self, name: str, policy: PullPolicy, auth: Auth) -> Image:
        """The image, when it has been pulled, for a container that is there.

        Raises:
            LongshoreError: what the pull came to.
        """
        bell = threading.Event()
        interest = self._pulls.join(name, policy, auth, bell.set, mend=False)
        try:
            while not interest.done:
                bell.wait()
                bell.clear()
            return interest.image()
        finally:
            interest.leave()

    def wait(self, record: Record, waiting: Waiting) -> Image:
        """The image, when it has been pulled.

        Raises:
            Superseded: something newer is wanted; the pull goes on if others wait for it.
            LongshoreError: what the pull came to.
        """
        interest = self._begin(record, waiting.wake)
        try:
            if not interest.done:
                waiting.say(_waits(record))
            while not interest.done:
                waiting.wait()
                if waiting.superseded():
                    raise Superseded(
                        f"cannot wait for image {record.spec.image}: a newer request overtook this",
                        object=record.name,
                    )
            return interest.image()
        finally:
            interest.leave()

    def come_again(self, record: Record, wake: Callable[[], None]) -> Image:
        """The image, if it is here or its pull has come to something since the last time.

        Args:
            wake: called from any thread when it is worth while to come again.

        Raises:
            Postponed: not yet.
            LongshoreError: what the pull came to, said once.
        """
        with self._guard:
            told = self._told.get(record.id)
        if told is None:
            told = self._begin(record, wake)
            with self._guard:
                self._told[record.id] = told
        if not told.done:
            raise Postponed(_waits(record))
        with self._guard:
            self._told.pop(record.id, None)
        told.leave()
        return told.image()

    def _begin(self, record: Record, wake: Callable[[], None]) -> Interest:
        name, policy = record.spec.image, PullPolicy(record.spec.pull)
        with self._guard:
            auth = Auth(self._credentials.get(record.id), record.spec.image_credential)
        if not record.with_credential or auth.credential is not None:
            return self._pulls.join(name, policy, auth, wake, mend=False)
        if policy is not PullPolicy.ALWAYS:
            try:
                return self._pulls.join(name, PullPolicy.NEVER, auth, wake, mend=False)
            except ImageNotFound:
                pass
        # Asked without it the source would refuse for good what it would give to the request,
        # which is sent again.
        raise ImageSourceUnavailable(
            f"cannot pull image {name}: the credential that came with the request was lost when "
            "the agent was started again",
            field="image",
            object=name,
            hint="send the same request again",
        )


def _waits(record: Record) -> str:
    return f"waiting for image {record.spec.image}"
