"""What the tests of this room share: a node's Glance, a watch, a clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.lab.openstack import NODE_PASSWORD, PrivateOpenStack
from longshore.errors import LongshoreError, PullCancelled
from longshore.host.glance.chance import Chance
from longshore.host.glance.settings import Bounds, Settings, settings
from longshore.host.glance.source import Glance
from longshore.model.reference import GLANCE
from longshore.model.transfer import Auth, ImageSource

BOUNDS = Bounds(size=2**30, stall=10.0, seconds=60.0)
NOBODY = Auth()
_DEFAULTS = {
    "username": "longshore",
    "password": NODE_PASSWORD,
    "user_domain_name": "Default",
    "project_name": "cloud",
    "project_domain_name": "Default",
    "application_credential_id": None,
    "application_credential_secret": None,
    "cafile": None,
    "region_name": None,
    "valid_interfaces": ["internal", "public"],
    "endpoint_override": None,
    "timeout": 10.0,
}


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    @property
    def chance(self) -> Chance:
        return Chance(lambda: self.time, self.sleep, lambda: 0.5)


@dataclass
class Recorder:
    """A watch that remembers; `cancel_at`: nobody waits any more from this byte on."""

    cancel_at: int | None = None
    totals: dict[str, int] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise PullCancelled("cannot pull: nobody waits")

    def planned(self, digest: str, blobs: Mapping[str, int]) -> None:
        self.totals.update(blobs)

    def fetched(self, blob: str, done: int) -> None:
        self.seen.append(done)
        if self.cancel_at is not None and done >= self.cancel_at:
            self.cancelled.set()

    def unpacking(self, blob: str) -> None:
        raise AssertionError("Glance's data are not unpacked, but their layers")

    def finished(self, blob: str) -> None:
        self.done.append(blob)


def settings_of(auth_url: str, **changes: Any) -> Settings:
    found = settings(SimpleNamespace(**{**_DEFAULTS, "auth_url": auth_url, **changes}))
    assert found is not None
    return found


def glance_of(
    cloud: PrivateOpenStack,
    spool: Path,
    clock: Clock,
    *,
    bounds: Bounds = BOUNDS,
    **options: Any,
) -> Glance:
    auth_url = options.pop("auth_url", cloud.auth_url)
    return Glance(settings_of(auth_url, **options), bounds, spool, clock.chance)


def pull(glance: Glance, what: str, watch: Recorder | None = None) -> list[str]:
    """Digests of the candidates of the image."""
    with glance.resolve(f"{GLANCE}{what}", NOBODY).open(watch or Recorder()) as content:
        for one in content.candidates:
            assert content.read(one)
        return [one.digest for one in content.candidates]


def failure(call: Callable[[], object]) -> LongshoreError:
    """What the call raises: one of ours, in one line, without the node's password."""
    with pytest.raises(LongshoreError) as caught:
        call()
    assert "\n" not in caught.value.message
    assert NODE_PASSWORD not in str(caught.value.to_dict())
    return caught.value


def refusal(glance: Glance, what: str, auth: Auth = NOBODY) -> LongshoreError:
    """Why there is no such image."""
    return failure(lambda: glance.resolve(f"{GLANCE}{what}", auth))


def fetching(source: ImageSource, watch: Recorder) -> LongshoreError:
    """Why its data do not come."""
    with ExitStack() as stack:
        return failure(lambda: stack.enter_context(source.open(watch)))


def falsify(file: Path, at: int) -> None:
    """Turns one bit of it."""
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
