"""A call that hangs and is not wanted any more: its caller goes on, and the next one is made."""

from __future__ import annotations

import threading

import pytest

from fakes.lifecycle import until
from longshore.errors import HostBusy, PullCancelled
from longshore.host.hangs import _CALLED_OFF, Hangs


def not_wanted() -> None:
    raise PullCancelled("nobody waits")


def test_called_off() -> None:
    hangs, answer, values = Hangs(3600.0), threading.Event(), list[bool]()

    def ask() -> bool:
        return answer.wait(20)

    for _ in range(_CALLED_OFF):
        with pytest.raises(PullCancelled):
            hangs.run("ask", "it", ask, values.append, check=not_wanted)
    with pytest.raises(HostBusy):
        hangs.run("ask", "it", ask)
    assert hangs.run("ask", "another", lambda: 1, check=lambda: None) == 1
    answer.set()
    # What comes late is given back.
    until(lambda: len(values) == _CALLED_OFF)
    assert hangs.run("ask", "it", ask, check=lambda: None)
