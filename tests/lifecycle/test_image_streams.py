"""What is told of a pull, a push and a save while they go on, and to whom."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest

from fakes.images import IMAGE
from fakes.lifecycle import Lifecycle, until
from longshore.errors import (
    HostBusy,
    InvalidRequest,
    PullCancelled,
)
from longshore.model.status import TransferStatus
from longshore.model.transfer import Auth, PullPolicy

T = TypeVar("T")
WEB = "docker.io/library/web:latest"


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def test_a_stream_tells_how_a_pull_goes(life: Lifecycle) -> None:
    image = life.fake.sources.have("web")
    life.fake.sources.go.clear()
    stream = life.images.pull("web", PullPolicy.ALWAYS, Auth())
    told: list[TransferStatus] = [next(stream)]
    while told[-1].state != "moving":
        told.append(next(stream))
    assert told[-1].total == 1000
    life.fake.sources.go.set()
    pulled = _end(stream)
    assert (pulled.name, pulled.digest) == (WEB, image.digest)


def test_closing_the_stream_leaves_the_pull(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    life.fake.sources.go.clear()
    one, two = (life.images.pull("web", PullPolicy.ALWAYS, Auth()) for _ in range(2))
    assert next(one).waiters == 1
    assert next(two).waiters == 2
    one.close()
    assert next(two).waiters == 1
    two.close()
    assert life.pulls.transfers() == []
    life.fake.sources.go.set()
    assert life.pulls.stop(10)
    assert WEB not in life.fake.images.there


def test_a_stream_of_a_push(life: Lifecycle) -> None:
    life.fake.sources.go.clear()
    stream = life.images.push("busybox", "r.local/bb:1", Auth())
    assert next(stream).direction == "push"
    with pytest.raises(HostBusy):  # what is being sent stays
        life.shelf.remove(IMAGE.name, 0.0)
    life.fake.sources.go.set()
    last = _end(stream)
    assert (last.state, last.digest) == ("done", IMAGE.digest)
    life.images.remove("busybox")


def test_closing_the_stream_of_a_push_ends_it(life: Lifecycle) -> None:
    life.fake.sources.go.clear()
    stream = life.images.push("busybox", "r.local/bb:1", Auth())
    next(stream)
    stream.close()
    until(lambda: life.fake.sources.moving == 0)
    assert life.fake.sources.pushed == {}


def test_save(life: Lifecycle, tmp_path: Path) -> None:
    pieces = life.images.save(["busybox", IMAGE.name])
    assert list(pieces) == [IMAGE.digest.encode()]
    life.images.save_to(["busybox"], tmp_path / "bb.tar")
    assert (tmp_path / "bb.tar").read_text() == IMAGE.digest
    with pytest.raises(InvalidRequest) as caught:
        life.images.save(["busybox", "No Name"])
    assert caught.value.field == "names[1]"


def test_what_is_being_saved_is_not_removed(life: Lifecycle) -> None:
    pieces = life.images.save(["busybox"])
    next(pieces)
    with pytest.raises(HostBusy):
        life.shelf.remove(IMAGE.name, 0.0)
    assert list(pieces) == []
    life.images.remove("busybox")


def test_a_pull_that_was_given_up_says_so_to_who_asks_later(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    life.fake.sources.go.clear()
    interest = life.pulls.join("web", PullPolicy.ALWAYS, Auth())
    interest.leave()
    with pytest.raises(PullCancelled):
        interest.image()


def _end(stream: Generator[TransferStatus, None, T]) -> T:
    """What the stream returns after all that it tells."""
    while True:
        try:
            next(stream)
        except StopIteration as end:
            value: T = end.value
            return value
