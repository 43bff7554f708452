"""Whether and when to ask an agent again."""

from __future__ import annotations

import random
import time

from longshore.errors import AgentBusy, LongshoreError

#: How long an agent that went away in mid-call is waited for. A restart takes about a second, on a
#: node that is short of CPUs many.
RETURN = 30.0
_PAUSE = 0.2
#: A call that was refused is not sent again with less time than this: cut off, it would turn the
#: refusal that the caller already has into 'nobody knows'.
_FAIR = 0.5


class Patience:
    """One call's. `by` is of time.monotonic.

    Args:
        returns: seconds that an agent which went away is waited for, each time that it does.
    """

    def __init__(self, by: float, returns: float = RETURN) -> None:
        self.by = by
        self._returns = returns
        self._lost: float | None = None

    def grants(self, failure: LongshoreError, *, gone: bool) -> bool:
        """Whether the call that failed so is worth another try. `gone`: the agent went away."""
        now = time.monotonic()
        if gone:
            self._lost = self._lost or now
            end = min(self.by, self._lost + self._returns)
            return self._returns > 0 and now + (_FAIR if failure.retry else 0.0) <= end
        self._lost = None
        return isinstance(failure, AgentBusy) and now + _FAIR <= self.by

    def returned(self) -> None:
        """The agent is there again. Should it go once more, it is waited for anew."""
        self._lost = None


def pause() -> None:
    """Before the next try."""
    time.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - spreads, hides nothing
