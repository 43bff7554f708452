"""The restart policy's decision, and its pauses."""

from __future__ import annotations

import pytest

from longshore.model.restarts import Backoff, End, Restart, decide

BACKOFF = Backoff(first=1.0, factor=2.0, most=10.0, reset=30.0)


@pytest.mark.parametrize(("tries", "pause"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 10), (10**6, 10)])
def test_pauses_grow_to_the_longest(tries: int, pause: float) -> None:
    assert BACKOFF.pause(tries, 0.0) == pause
    assert BACKOFF.pause(tries, 1.0) == pause * 0.75


def test_chance_never_makes_a_pause_shorter_than_the_one_before() -> None:
    assert BACKOFF.pause(1, 1.0) > BACKOFF.pause(0, 0.0)


def test_a_factor_of_one_stays_at_the_first() -> None:
    steady = Backoff(first=1.0, factor=1.0, most=10.0)
    assert steady.pause(5, 0.0) == 1.0


@pytest.mark.parametrize(
    ("policy", "end", "again"),
    [
        ("no", End(1), False),
        ("always", End(0), True),
        ("unless-stopped", End(0), True),
        ("on-failure", End(0), False),
        ("on-failure", End(1), True),
        ("on-failure", End(None), True),
        ("on-failure", End(137), True),
        ("on-failure", End(0, out_of_memory=True), True),
    ],
)
def test_who_is_started_again(policy: str, end: End, again: bool) -> None:
    verdict = decide(Restart.model_validate({"policy": policy}), end, 0, BACKOFF, 0.0)
    assert (verdict.pause is not None) is again


@pytest.mark.parametrize(
    ("tries", "end", "again"),
    [
        (1, End(1), True),
        (2, End(1), False),
        (2, End(1, ran=29.9), False),
        (2, End(1, ran=30.0), True),
        # What the node could not do is not held against the container.
        (2, End(None, passing=True), True),
    ],
)
def test_retries(tries: int, end: End, again: bool) -> None:
    policy = Restart(policy="on-failure", retries=2)
    verdict = decide(policy, end, tries, BACKOFF, 0.0)
    assert (verdict.pause is not None) is again
    if not again:
        assert "2 times in a row" in verdict.why
