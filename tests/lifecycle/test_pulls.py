"""Pulls: shared by all who ask, bounded, left one by one, and never waited for in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.images import IMAGE
from fakes.lifecycle import Lifecycle, until
from longshore.errors import (
    DeadlineExceeded,
    Exhausted,
    ImageNotFound,
    ImageSourceDenied,
    ImageSourceUnavailable,
    Interrupted,
    InvalidRequest,
    LongshoreError,
    PullCancelled,
)
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.flights import Interest
from longshore.lifecycle.pulls import Pulls
from longshore.model.host import Image
from longshore.model.transfer import Auth, Credential, PullPolicy

ALWAYS, IF_NOT_PRESENT, NEVER = PullPolicy
WEB = "docker.io/library/web:latest"
ALICE = Auth(Credential("alice", "secret"))
BOB = Auth(Credential("bob", "secret"))


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path)
    yield life
    life.fake.sources.go.set()
    life.fake.sources.answer.set()
    life.fake.sources.gone.set()
    assert life.pulls.stop(10)
    assert [one for one in threading.enumerate() if one.name.startswith("pull-")] == []


def ended(interest: Interest) -> Image:
    until(lambda: interest.done)
    return interest.image()


def ask(life: Lifecycle, name: str = "web", auth: Auth | None = None, **more: object) -> Interest:
    return life.pulls.join(name, ALWAYS, auth or Auth(), **more)  # type: ignore[arg-type]  # the test's choice


def moving(life: Lifecycle, count: int = 1) -> None:
    until(lambda: life.fake.sources.moving == count)


def test_an_image_is_pulled_and_told_of(life: Lifecycle) -> None:
    image = life.fake.sources.have("web")
    life.fake.sources.go.clear()
    woken = threading.Event()
    interest = ask(life, wake=woken.set)
    moving(life)
    (status,) = life.pulls.transfers()
    assert status == interest.status()
    assert (status.image, status.digest, status.direction) == (WEB, image.digest, "pull")
    assert (status.state, status.done, status.total, status.waiters) == ("moving", 0, 1000, 1)
    life.fake.sources.go.set()
    assert woken.wait(10)
    assert ended(interest) == image
    status = interest.status()
    assert (status.state, status.done, [one.state for one in status.layers]) == (
        *("done", 1000),
        ["done"],
    )
    assert life.pulls.transfers() == []
    assert life.fake.images.get("web") == image


def test_what_is_up_to_date_is_not_brought_again(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    for _ in range(2):
        ended(ask(life))
    assert len(life.fake.images.stored) == 1
    assert len(life.fake.sources.asked) == 2


def test_twenty_who_ask_make_one_pull(life: Lifecycle) -> None:
    image = life.fake.sources.have("web")
    life.fake.sources.go.clear()
    interests = [ask(life) for _ in range(20)]
    moving(life)
    assert {one.status().waiters for one in interests} == {20}
    life.fake.sources.go.set()
    assert [ended(one) for one in interests] == [image] * 20
    assert len(life.fake.images.stored) == len(life.fake.sources.asked) == 1


def test_one_image_by_two_names_and_two_credentials_comes_once(life: Lifecycle) -> None:
    """Who may have it, everybody has to find out for himself."""
    image = life.fake.sources.have("web")
    life.fake.sources.have("web:two")
    life.fake.sources.go.clear()
    interests = [ask(life, auth=ALICE), ask(life, auth=BOB), ask(life, "web:two")]
    until(lambda: sum(one.status().state == "moving" for one in interests) == 3)
    assert len(life.fake.sources.asked) == 3
    life.fake.sources.go.set()
    assert {ended(one).digest for one in interests} == {image.digest}
    assert [ended(one).name for one in interests] == [WEB, WEB, WEB.replace("latest", "two")]
    assert life.fake.images.stored == [image.digest]
    assert {WEB, WEB.replace("latest", "two")} <= life.fake.images.there.keys()


def test_a_second_name_of_what_is_here_is_only_given(life: Lifecycle) -> None:
    image = life.fake.sources.have("web")
    life.fake.sources.have("web:two")
    ended(ask(life))
    assert ended(ask(life, "web:two")).digest == image.digest
    assert life.fake.images.stored == [image.digest]


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_only_so_many_move_at_once_and_finding_out_does_not_wait(
    life: Lifecycle, parallel: int
) -> None:
    clock = Clock(now=lambda: 1.0, timer=lambda: 1.0)
    sources = life.fake.sources
    pulls = Pulls(life.fake.images, sources, life.holds, clock, parallel=parallel, timeout=9)
    for number in range(6):
        sources.have(f"web:{number}", str(number))
    sources.have("here", "here")
    life.fake.images.add(sources.there["docker.io/library/here:latest"])
    sources.go.clear()
    interests = [pulls.join(f"web:{number}", ALWAYS, Auth()) for number in range(6)]
    moving(life, parallel)
    assert ended(pulls.join("here", ALWAYS, Auth()))  # though no other can move now
    sources.go.set()
    for one in interests:
        ended(one)
    assert sources.most == parallel
    assert pulls.stop(10)


def test_leaving_ends_the_pull_only_for_the_last(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    life.fake.sources.go.clear()
    first, second = ask(life), ask(life)
    moving(life)
    first.leave()
    assert second.status().waiters == 1
    assert not second.done
    second.leave()
    until(lambda: life.fake.sources.moving == 0)
    assert life.pulls.transfers() == []
    with pytest.raises(PullCancelled):
        second.image()
    assert WEB not in life.fake.images.there
    # Who comes now does not get what others gave up.
    life.fake.sources.go.set()
    assert ended(ask(life)).name == WEB


def test_who_comes_while_a_pull_is_given_up_gets_one_of_his_own(life: Lifecycle) -> None:
    image = life.fake.sources.have("web")
    life.fake.sources.go.clear()
    life.fake.sources.gone.clear()
    first = ask(life)
    moving(life)
    first.leave()
    second = ask(life)
    until(lambda: len(life.pulls._underway._transfers[image.digest].heirs) == 1)
    assert life.fake.sources.moving == 1  # one at a time: what the first leaves would be removed
    life.fake.sources.gone.set()
    life.fake.sources.go.set()
    assert ended(second).name == WEB
    assert life.fake.images.stored == [image.digest]


def test_leaving_one_name_does_not_end_what_another_waits_for(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    life.fake.sources.have("web:two")
    life.fake.sources.go.clear()
    one, two = ask(life), ask(life, "web:two")
    until(lambda: two.status().state == one.status().state == "moving")
    one.leave()
    life.fake.sources.go.set()
    assert ended(two).name == WEB.replace("latest", "two")
    assert len(life.fake.images.stored) == 1


def test_leaving_before_the_answer(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    life.fake.sources.answer.clear()
    interest = ask(life)
    until(lambda: life.fake.sources.asked != [])
    interest.leave()
    assert life.pulls.transfers() == []
    # It is called off, though no answer comes.
    until(lambda: not [one for one in threading.enumerate() if one.name == "pull-ask"])
    assert life.fake.images.stored == []


def test_a_failure_reaches_each_who_waits_as_his_own_copy(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    life.fake.sources.breaks["web"] = Exhausted("cannot pull: the disk is full", hint="clean up")
    life.fake.sources.answer.clear()
    interests = [ask(life) for _ in range(3)]
    life.fake.sources.answer.set()
    caught = []
    for one in interests:
        with pytest.raises(Exhausted, match="the disk is full") as info:
            ended(one)
        caught.append(info.value)
    assert len({id(error) for error in caught}) == 3
    assert {error.hint for error in caught} == {"clean up"}
    assert WEB not in life.fake.images.there
    life.fake.sources.breaks.clear()
    assert ended(ask(life))


def test_a_fault_of_ours_is_an_error_and_not_a_wait(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    life.fake.sources.breaks["web"] = KeyError("a fault of ours")
    with pytest.raises(LongshoreError, match="KeyError"):
        ended(ask(life))


def test_a_pull_that_takes_too_long(life: Lifecycle) -> None:
    life.pulls._underway._timeout = 0  # the clock of these tests goes on with every look
    life.fake.sources.have("web")
    with pytest.raises(DeadlineExceeded, match="web"):
        ended(ask(life))
    assert WEB not in life.fake.images.there


POLICIES: list[tuple[PullPolicy, bool, type[LongshoreError] | None, int]] = [
    # policy, whether it is here, what comes of it, how often the source is asked
    (NEVER, True, None, 0),
    (NEVER, False, ImageNotFound, 0),
    (IF_NOT_PRESENT, True, None, 0),
    (IF_NOT_PRESENT, False, ImageSourceUnavailable, 1),
    (ALWAYS, True, ImageSourceUnavailable, 1),
    (ALWAYS, False, ImageSourceUnavailable, 1),
]


@pytest.mark.parametrize(("policy", "here", "error", "asked"), POLICIES)
def test_policies_when_the_registry_is_away(
    life: Lifecycle, policy: PullPolicy, here: bool, error: type[LongshoreError] | None, asked: int
) -> None:
    life.fake.sources.failures[WEB] = ImageSourceUnavailable("cannot reach it")
    if here:
        life.fake.images.add(replace(IMAGE, name=WEB))
    if error is None:
        assert ended(life.pulls.join("web", policy, Auth())).name == WEB
    else:
        with pytest.raises(error):
            ended(life.pulls.join("web", policy, Auth()))
    assert len(life.fake.sources.asked) == asked


def test_glance_is_asked_and_its_cache_holds_until_the_image_changes(life: Lifecycle) -> None:
    sources, name = life.fake.sources, "glance://web"
    image = sources.have(name)
    first = ended(life.pulls.join(name, IF_NOT_PRESENT, Auth()))
    assert first.name == f"glance://id-of-{image.digest[7:19]}"
    assert {name, first.name} <= life.fake.images.there.keys()
    ended(life.pulls.join(name, IF_NOT_PRESENT, Auth()))
    assert (len(sources.asked), len(life.fake.images.stored)) == (2, 1)
    changed = sources.have(name, "2")
    assert ended(life.pulls.join(name, IF_NOT_PRESENT, Auth())).digest == changed.digest
    # Away: what is here is good enough, but for who insists.
    sources.failures[name] = ImageSourceUnavailable("cannot reach Glance")
    assert ended(life.pulls.join(name, IF_NOT_PRESENT, Auth())).digest == changed.digest
    with pytest.raises(ImageSourceUnavailable):
        ended(life.pulls.join(name, ALWAYS, Auth()))
    # Refused is not away.
    sources.failures[name] = ImageSourceDenied("cannot pull it: it is deactivated")
    with pytest.raises(ImageSourceDenied):
        ended(life.pulls.join(name, IF_NOT_PRESENT, Auth()))


def test_a_changed_image_of_glance_that_breaks_off_is_not_the_old_one(life: Lifecycle) -> None:
    sources, name = life.fake.sources, "glance://web"
    sources.have(name)
    ended(life.pulls.join(name, IF_NOT_PRESENT, Auth()))
    sources.have(name, "2")
    sources.breaks[name] = ImageSourceUnavailable("cannot go on")
    with pytest.raises(ImageSourceUnavailable):
        ended(life.pulls.join(name, IF_NOT_PRESENT, Auth()))


def test_an_image_that_loses_its_name_keeps_one(life: Lifecycle) -> None:
    old = life.fake.sources.have("web")
    ended(ask(life))
    new = life.fake.sources.have("web", "2")
    ended(ask(life))
    assert life.fake.images.get("web").digest == new.digest
    assert life.fake.images.get(f"web@{old.digest}").digest == old.digest


def test_a_name_that_then_does_not_move_leaves_nothing(life: Lifecycle) -> None:
    old = life.fake.sources.have("web")
    ended(ask(life))
    life.fake.sources.have("web", "2")
    life.fake.sources.breaks["web"] = Exhausted("cannot pull: the disk is full")
    with pytest.raises(Exhausted):
        ended(ask(life))
    assert [one.name for one in life.fake.images.list() if one.digest == old.digest] == [WEB]


def test_a_prefetch_is_once_and_goes_on_without_anybody(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    life.fake.sources.go.clear()
    for _ in range(3):
        assert life.pulls.prefetch("web", ALWAYS, Auth()).image == WEB
    one = ask(life)
    moving(life)
    assert one.status().waiters == 2
    one.leave()
    assert [status.waiters for status in life.pulls.transfers()] == [1]
    life.fake.sources.go.set()
    until(lambda: WEB in life.fake.images.there)
    until(lambda: life.pulls.transfers() == [])
    asked = len(life.fake.sources.asked)
    life.pulls.prefetch("web", IF_NOT_PRESENT, Auth())
    until(lambda: life.pulls.transfers() == [])
    assert len(life.fake.sources.asked) == asked


@pytest.mark.parametrize("gate", ["answer", "go"])
def test_stopping_lets_go_of_all_at_once(life: Lifecycle, gate: str) -> None:
    getattr(life.fake.sources, gate).clear()
    for number in range(4):
        life.fake.sources.have(f"web:{number}", str(number))
    interests = [ask(life, f"web:{number}") for number in range(4)]
    woken = threading.Event()
    last = ask(life, "web:0", wake=woken.set)
    if gate == "go":
        moving(life, 2)
    stopped = life.pulls.stop(10)
    assert woken.is_set()
    # Though nobody answers, and no data come.
    assert stopped
    for one in (*interests, last):
        assert one.done
        with pytest.raises(Interrupted):
            one.image()
    with pytest.raises(Interrupted):
        ask(life)
    assert life.fake.images.stored == []


def test_a_push(life: Lifecycle) -> None:
    life.fake.sources.go.clear()
    interest = life.pulls.push("busybox", "registry.local/bb", ALICE, lambda: None)
    moving(life)
    (status,) = life.pulls.transfers()
    assert (status.direction, status.image) == ("push", "registry.local/bb:latest")
    assert (status.state, status.done) == ("moving", 500)
    life.fake.sources.go.set()
    until(lambda: interest.done)
    assert (interest.status().state, interest.status().digest) == ("done", IMAGE.digest)
    assert life.fake.sources.pushed == {"registry.local/bb:latest": IMAGE}


def test_two_pushes_to_one_name_are_two(life: Lifecycle) -> None:
    life.fake.sources.go.clear()
    one, two = (life.pulls.push("busybox", "r.local/bb", Auth(), lambda: None) for _ in range(2))
    moving(life, 2)
    one.leave()
    moving(life, 1)
    life.fake.sources.go.set()
    until(lambda: two.done)
    two.check()
    with pytest.raises(PullCancelled):
        one.check()


REFUSED: list[Callable[[Pulls], object]] = [
    lambda pulls: pulls.join("No Name", ALWAYS, Auth()),
    lambda pulls: pulls.prefetch("UPPER", ALWAYS, Auth()),
    lambda pulls: pulls.push("busybox", "a:b:c", Auth(), lambda: None),
]


@pytest.mark.parametrize("call", REFUSED)
def test_names_that_are_none(life: Lifecycle, call: Callable[[Pulls], object]) -> None:
    with pytest.raises(InvalidRequest):
        call(life.pulls)


def test_nothing_says_a_password(life: Lifecycle, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    life.fake.sources.have("web")
    interest = ask(life, auth=ALICE)
    ended(interest)
    life.fake.sources.failures[WEB] = ImageSourceDenied("cannot pull it: denied")
    with pytest.raises(ImageSourceDenied):
        ended(ask(life, auth=ALICE))
    # The thread that pulled tells of it after the caller was answered.
    assert life.pulls.stop(10)
    assert "web:latest ended: cannot pull it: denied" in caplog.text
    assert "secret" not in caplog.text + repr(interest) + repr(interest.flight)
