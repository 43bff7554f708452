"""A container whose image is not here, and the pull that its create waits for."""

from __future__ import annotations

from typing import Any

from fakes.lifecycle import Lifecycle, a_spec, until
from longshore.model.spec import ContainerSpec

WEB = "docker.io/library/web:latest"


def web(**changes: Any) -> ContainerSpec:
    return a_spec(**{"image": "web", **changes})


def pulling(life: Lifecycle, waiters: int = 1) -> None:
    until(lambda: [one.waiters for one in life.pulls.transfers()] == [waiters])
    until(lambda: life.fake.sources.moving == 1)
