"""When a container whose process has ended is started again by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from longshore.model.values import Part, fault


class Restart(Part):
    """Docker's restart policies. What a user stopped stays stopped under each of them, also after
    a restart of the agent or of the node.

    Args:
        policy: `no`; `on-failure`: unless its exit code was 0; `always` and `unless-stopped`:
            whatever it was. They mean the same here.
        retries: how often in a row `on-failure` tries; None: without an end.
    """

    policy: Literal["no", "on-failure", "always", "unless-stopped"] = "no"
    retries: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _counted(self) -> Restart:
        if self.retries is not None and self.policy != "on-failure":
            raise fault("retries", "are counted by on-failure alone")
        return self


@dataclass(frozen=True)
class Backoff:
    """How long the pause before an automatic start is.

    Args:
        first: seconds before the first.
        factor: by which each is longer than the one before.
        most: seconds of the longest.
        reset: seconds that a run has to last for the next pause to be the first again.
    """

    first: float = 0.5
    factor: float = 2.0
    most: float = 60.0
    reset: float = 10.0

    def pause(self, tries: int, chance: float) -> float:
        """Seconds. `chance`, 0 to 1, shortens it by up to a quarter, so that those that ended
        together do not start together for ever."""
        # What is beyond the longest pause anyway is not computed: it would overflow.
        longest = self.first
        for _ in range(tries):
            if longest >= self.most:
                break
            longest *= self.factor
        return min(longest, self.most) * (1 - chance / 4)


@dataclass(frozen=True)
class End:
    """How a run ended, or an automatic start that came to nothing.

    Args:
        exit_code: None: nobody saw it, or it never ran.
        out_of_memory: the kernel killed a process of it in this run.
        ran: seconds.
        passing: what kept it from starting may pass, and is nothing that the container did.
    """

    exit_code: int | None
    out_of_memory: bool = False
    ran: float = 0.0
    passing: bool = False

    @property
    def is_failure(self) -> bool:
        return self.exit_code != 0 or self.out_of_memory


@dataclass(frozen=True)
class Verdict:
    """`pause`: seconds until it is started again, None: it is not. `tries`: as the record's.
    `why`: for its reason; empty: it has no policy."""

    pause: float | None
    tries: int
    why: str = ""


def decide(policy: Restart, end: End, tries: int, backoff: Backoff, chance: float) -> Verdict:
    """Whether it is started again. `tries`: how many runs in a row before this one ended soon."""
    if policy.policy == "no":
        return Verdict(None, 0)
    if policy.policy == "on-failure" and not end.is_failure:
        return Verdict(None, 0, "it did its work, so on-failure does not start it again")
    before = 0 if end.ran >= backoff.reset else tries
    counted = not end.passing and policy.retries is not None
    if counted and policy.retries is not None and before >= policy.retries:
        times = "once" if before == 1 else f"{before} times"
        return Verdict(None, before, f"it was started again {times} in a row, as on-failure allows")
    pause = backoff.pause(before, chance)
    return Verdict(pause, before + 1, f"{policy.policy} starts it again in {pause:.2g} s")
