"""How long a caller asks again."""

from __future__ import annotations

import time

from longshore.errors import AgentBusy, HostUnavailable
from longshore.local.patience import Patience

GONE = HostUnavailable("cannot reach the agent: it went away")


def test_an_agent_that_returns_and_goes_again_is_waited_for_anew() -> None:
    patience = Patience(time.monotonic() + 60, returns=0.6)
    assert patience.grants(GONE, gone=True)
    time.sleep(0.2)
    assert not patience.grants(GONE, gone=True)
    patience.returned()
    assert patience.grants(GONE, gone=True)


def test_no_return_goes_beyond_the_deadline() -> None:
    patience = Patience(time.monotonic(), returns=60)
    patience.returned()
    assert not patience.grants(GONE, gone=True)


def test_a_refusal_is_kept_rather_than_asked_for_with_no_time_left() -> None:
    assert Patience(time.monotonic() + 60).grants(AgentBusy("cannot pull: busy"), gone=False)
    assert not Patience(time.monotonic() + 0.1).grants(AgentBusy("cannot pull: busy"), gone=False)
