"""Pulls where registries are silent, threads are not had, layers are gone and nobody looks on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.images import FakeSources
from fakes.lifecycle import Lifecycle, until
from longshore.errors import HostBusy, ImageNotFound, ImageSourceDenied, Interrupted
from longshore.lifecycle import failures
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.flights import Interest
from longshore.lifecycle.pulls import Pulls
from longshore.model.host import Image
from longshore.model.transfer import Auth, ImageSource, PullPolicy, Watch

ALWAYS, IF_NOT_PRESENT, NEVER = PullPolicy
WEB = "docker.io/library/web:latest"


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path)
    yield life
    assert life.pulls.stop(10)
    assert [one for one in threading.enumerate() if one.name.startswith("pull-")] == []


def ended(interest: Interest) -> Image:
    until(lambda: interest.done)
    return interest.image()


class Silent(FakeSources):
    """One registry of them never answers."""

    def resolve(self, name: str, auth: Auth, watch: Watch) -> ImageSource:
        if not name.startswith("silent.example/"):
            return super().resolve(name, auth, watch)
        self.asked.append((name, auth))
        end = time.monotonic() + 20
        while time.monotonic() < end:  # a failing test must end too
            watch.check()
            time.sleep(0.002)
        raise AssertionError("nobody called it off")


def test_a_silent_registry_keeps_nobody_from_another_nor_the_agent_from_its_end(
    life: Lifecycle,
) -> None:
    sources, clock = Silent(), Clock(now=lambda: 1.0, timer=time.monotonic)
    pulls = Pulls(life.fake.images, sources, life.holds, clock, parallel=1, timeout=9)
    waiting = [pulls.join(f"silent.example/app:{n}", ALWAYS, Auth()) for n in range(50)]
    until(lambda: len(sources.asked) == 8)
    image = sources.have("web")
    assert ended(pulls.join("web", ALWAYS, Auth())) == image
    assert len(sources.asked) == 9
    # Whoever leaves makes room for the next in line.
    waiting[0].leave()
    until(lambda: len(sources.asked) == 10)
    assert pulls.stop(10)
    for one in waiting[1:]:
        with pytest.raises(Interrupted):
            one.image()


@pytest.mark.parametrize("which", ["pull-ask", "pull-move"])
def test_no_thread_for_a_pull(life: Lifecycle, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image, start = life.fake.sources.have("web"), threading.Thread.start

    def refused(self: threading.Thread) -> None:
        if self.name == which:
            raise RuntimeError("can't start new thread")
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(HostBusy, match="can't start new thread"):
            ended(life.pulls.join("web", ALWAYS, Auth()))
        if which == "pull-move":
            pushed = life.pulls.push("busybox", "r.local/bb", Auth(), lambda: None)
            with pytest.raises(HostBusy):
                pushed.check()
    assert life.pulls.transfers() == []
    assert life.pulls.keys() == set()
    assert ended(life.pulls.join("web", ALWAYS, Auth())) == image


def here(life: Lifecycle, *, content: bool) -> Image:
    """An image that is here, whose snapshots are gone, and perhaps its content too."""
    image = life.fake.sources.have("web")
    ended(life.pulls.join("web", ALWAYS, Auth()))
    life.fake.images.unpacked.clear()
    if not content:
        life.fake.images.content.clear()
    life.fake.sources.asked.clear()
    life.fake.images.stored.clear()
    return image


MENDED = [
    # policy, whether the content is here, questions, what is brought
    (ALWAYS, True, 1, 0),
    (ALWAYS, False, 1, 1),
    (IF_NOT_PRESENT, True, 0, 0),
    (IF_NOT_PRESENT, False, 1, 1),
    (NEVER, True, 0, 0),
]


@pytest.mark.parametrize(("policy", "content", "asked", "brought"), MENDED)
def test_a_pull_mends_what_is_here(
    life: Lifecycle, policy: PullPolicy, content: bool, asked: int, brought: int
) -> None:
    image = here(life, content=content)
    assert ended(life.pulls.join("web", policy, Auth())) == image
    assert image.chain_id in life.fake.images.unpacked
    assert (len(life.fake.sources.asked), len(life.fake.images.stored)) == (asked, brought)


def test_what_cannot_be_mended_is_not_here(life: Lifecycle) -> None:
    here(life, content=False)
    with pytest.raises(ImageNotFound):
        ended(life.pulls.join("web", NEVER, Auth()))
    assert life.fake.sources.asked == []


@pytest.mark.parametrize("policy", [IF_NOT_PRESENT, NEVER])
def test_a_create_sees_for_itself_whether_it_is_whole(life: Lifecycle, policy: PullPolicy) -> None:
    image = here(life, content=True)
    interest = life.pulls.join("web", policy, Auth(), mend=False)
    assert interest.done
    assert interest.image() == image
    assert life.fake.images.unpacked == set()


def test_a_prefetch_that_failed_is_told_of_until_it_works(life: Lifecycle) -> None:
    life.fake.sources.failures[WEB] = ImageSourceDenied("cannot pull it: no", hint="ask for it")
    life.pulls.prefetch("web", ALWAYS, Auth())
    until(lambda: [one.state for one in life.pulls.transfers()] == ["failed"])
    (status,) = life.pulls.transfers()
    assert (status.image, status.waiters) == (WEB, 0)
    assert status.error is not None
    assert (status.error.code, status.error.message, status.error.hint) == (
        *("image_source_denied", "cannot pull it: no"),
        "ask for it",
    )
    assert (life.pulls.names(), life.pulls.keys()) == (set(), set())
    life.fake.sources.failures.clear()
    life.fake.sources.have("web")
    ended(life.pulls.join("web", ALWAYS, Auth()))
    assert life.pulls.transfers() == []


def test_who_waits_is_told_himself(life: Lifecycle) -> None:
    with pytest.raises(ImageNotFound):
        ended(life.pulls.join("web", ALWAYS, Auth()))
    assert life.pulls.transfers() == []


def test_failed_prefetches_are_few_and_forgotten(life: Lifecycle) -> None:
    times = [1000.0]
    clock = Clock(now=lambda: times[0], timer=time.monotonic)
    pulls = Pulls(life.fake.images, life.fake.sources, life.holds, clock, parallel=1, timeout=9)
    for number in range(failures.KEPT + 4):
        pulls.prefetch(f"web:{number}", ALWAYS, Auth())
        until(lambda: {one.state for one in pulls.transfers()} == {"failed"})
    last = [f"docker.io/library/web:{number + 4}" for number in range(failures.KEPT)]
    assert [one.image for one in pulls.transfers()] == last
    times[0] += failures.SECONDS
    assert pulls.transfers() == []
    assert pulls.stop(10)


def test_nobody_waits_for_the_log(life: Lifecycle) -> None:
    free: list[bool] = []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            guard = life.pulls._underway._guard
            free.append(guard.acquire(timeout=1))
            if free[-1]:
                guard.release()

    log, slow = logging.getLogger("longshore.lifecycle.underway"), Slow(logging.INFO)
    before = log.level
    log.addHandler(slow)
    log.setLevel(logging.INFO)
    try:
        life.fake.sources.have("web")
        ended(life.pulls.join("web", ALWAYS, Auth()))
        life.fake.sources.answer.clear()
        life.pulls.join("web", ALWAYS, Auth()).leave()
        until(lambda: len(free) == 2)
    finally:
        log.removeHandler(slow)
        log.setLevel(before)
    assert free == [True, True]
