"""What an image's Healthcheck means, and what probes make of a container's health."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.model import probing
from longshore.model.health import HealthCheck, check_of, fault_of, of_image, words_of
from longshore.model.probing import HOUR, Found, judge, pause
from longshore.model.status import HealthStatus

SECOND = 10**9
TCP = HealthCheck(type="tcp", port=80)
BAD, GOOD = Found(ok=False, output="refused"), Found(ok=True, output="connected")


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ({}, None),
        ({"Test": []}, None),
        ({"Test": ["NONE"]}, None),
        ({"Test": ["CMD", "a", "b"]}, {"command": ("a", "b")}),
        ({"Test": ["CMD-SHELL", "a || b"]}, {"command": ("/bin/sh", "-c", "a || b")}),
        (
            {"Test": ["CMD", "a"], "Interval": 5 * SECOND, "Timeout": SECOND, "Retries": 7,
             "StartPeriod": 2 * SECOND},
            {"command": ("a",), "interval": 5.0, "timeout": 1.0, "retries": 7, "start_period": 2.0},
        ),
        (
            {"Test": ["CMD", "a"], "Interval": 0, "Timeout": 0, "Retries": 0, "StartPeriod": 0},
            {"command": ("a",)},
        ),
        (
            {"Test": ["CMD", "a"], "Interval": 10**6, "Timeout": 10**15, "Retries": -1,
             "StartPeriod": -5},
            {"command": ("a",), "interval": 0.1, "timeout": 86400.0, "retries": 1,
             "start_period": 0.0},
        ),
    ],
)  # fmt: skip
def test_what_an_image_asks_for(written: dict[str, Any], found: dict[str, Any] | None) -> None:
    wanted = None if found is None else HealthCheck(type="exec", **found)
    assert of_image(written) == wanted
    assert check_of(None, written) == wanted
    assert fault_of(None, written) is None


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"Test": ["HTTP", "80"]}, "Test begins with 'HTTP', not with CMD, CMD-SHELL or NONE"),
        ({"Test": ["CMD"]}, "Test has nothing after CMD"),
        ({"Test": ["CMD-SHELL"]}, "Test has nothing after CMD-SHELL"),
        ({"Test": ["CMD", "a\0"]}, "command[0] must not hold a NUL byte"),
    ],
)
def test_what_cannot_be_understood_is_said_and_nothing_is_probed(
    written: dict[str, Any], why: str
) -> None:
    assert fault_of(None, written) == why
    assert check_of(None, written) is None
    assert fault_of(TCP, written) is None


def test_what_the_spec_asks_for_comes_before_the_image() -> None:
    written = {"Test": ["CMD", "a"]}
    assert check_of(TCP, written) == TCP
    assert check_of(HealthCheck(type="none"), written) is None
    assert check_of(None, None) is None


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (TCP, "tcp 80"),
        (HealthCheck(type="http", port=8, path="/x"), "http 8/x"),
        (HealthCheck(type="http", port=8, tls=True), "https 8/"),
        (HealthCheck(type="exec", command=("/bin/sh", "-c", "a || b")), "a || b"),
        (HealthCheck(type="exec", command=("a", "b")), "a b"),
    ],
)
def test_words(check: HealthCheck, words: str) -> None:
    assert words_of(check) == words


def rounds(check: HealthCheck, *found: Found, age: float = 1000.0) -> list[str]:
    """State and failures after each, and what is to be done."""
    health, told = HealthStatus(), []
    for one in found:
        verdict = judge(check, health, one, 5000.0, age)
        health = verdict.health
        news = "!" if verdict.news else ""
        told.append(f"{health.state} {health.failures}{news} {verdict.act or ''}".strip())
    return told


def test_from_starting_to_healthy_to_unhealthy_and_back() -> None:
    assert rounds(TCP, BAD, GOOD, BAD, BAD, GOOD, BAD, BAD, BAD, BAD, GOOD, GOOD) == [
        "starting 1",
        "healthy 0!",
        "healthy 1",
        "healthy 2",
        "healthy 0",
        "healthy 1",
        "healthy 2",
        "unhealthy 3!",
        "unhealthy 4",
        "healthy 0!",
        "healthy 0",
    ]


def test_one_that_never_comes_up_is_unhealthy_after_its_retries() -> None:
    assert rounds(TCP, BAD, BAD, BAD) == ["starting 1", "starting 2", "unhealthy 3!"]


@pytest.mark.parametrize(
    ("check", "age", "counts"),
    [
        (TCP, 29.9, False),  # before the first interval is over
        (TCP, 30.0, True),
        (TCP.model_copy(update={"start_period": 60.0}), 59.0, False),
        (TCP.model_copy(update={"start_period": 60.0}), 61.0, True),
        (TCP.model_copy(update={"interval": 0.5}), 0.6, True),
    ],
)
def test_failures_right_after_the_start_do_not_count(
    check: HealthCheck, age: float, counts: bool
) -> None:
    once = check.model_copy(update={"retries": 1})
    assert rounds(once, BAD, BAD, age=age)[0] == ("unhealthy 1!" if counts else "starting 0")


def test_after_the_first_success_failures_count_also_within_the_start_period() -> None:
    check = TCP.model_copy(update={"start_period": 60.0, "retries": 2})
    told = rounds(check, BAD, GOOD, BAD, BAD, age=10.0)
    assert told == ["starting 0", "healthy 0!", "healthy 1", "unhealthy 2!"]


@pytest.mark.parametrize(
    ("state", "age", "seconds"),
    [
        ("starting", 0.0, 1.0),
        ("starting", 1.0, 1.0),
        ("starting", 2.5, 2.5),
        ("starting", 25.0, 25.0),
        ("starting", 31.0, 30.0),
        ("healthy", 0.0, 30.0),
        ("unhealthy", 2.0, 30.0),
    ],
)
def test_probes_are_frequent_right_after_the_start(state: str, age: float, seconds: float) -> None:
    assert pause(TCP, HealthStatus(state=state), age) == seconds
    assert pause(TCP.model_copy(update={"interval": 0.2}), HealthStatus(state=state), age) == 0.2


@pytest.mark.parametrize("act", ["restart", "stop", "kill"])
def test_on_unhealthy_acts_until_its_budget_is_used_up(act: Any) -> None:
    check = TCP.model_copy(update={"on_unhealthy": act, "retries": 2, "budget": 2})
    assert rounds(check, BAD, BAD, BAD, BAD, BAD) == [
        "starting 1",
        f"unhealthy 2! {act}",
        f"unhealthy 3! {act}",
        "unhealthy 4",
        "unhealthy 5",
    ]


def test_the_reason_says_what_is_done_and_what_is_not_any_more() -> None:
    check = TCP.model_copy(update={"on_unhealthy": "restart", "retries": 1, "budget": 1})
    first = judge(check, HealthStatus(), BAD, 5000.0, 1000.0)
    assert first.reason == (
        "unhealthy: 1 failure in a row, the last: refused; on_unhealthy is restart"
    )
    assert first.health.acted == (5000.0,)
    # Its next run.
    again = HealthStatus(state="starting", acted=first.health.acted)
    left = judge(check, again, BAD, 5000.0 + HOUR - 1, 1000.0)
    assert (left.act, left.news) == (None, True)
    assert left.reason.endswith("refused; it is left so: restart came 1 time within an hour")
    later = judge(check, left.health, BAD, 5000.0 + HOUR, 1000.0)
    assert later.act == "restart"
    assert later.health.acted == (5000.0 + HOUR,)


def test_what_a_probe_said_is_kept() -> None:
    health = judge(TCP, HealthStatus(), Found(False, "x" * 10, 0.25), 7.0, 1000.0).health
    assert (health.at, health.seconds, health.output) == (7.0, 0.25, "x" * 10)
    assert probing.OUTPUT_MAX == 512
