"""Room for images: the table of who goes, in which order, and when it ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.images import an_image
from fakes.lifecycle import Lifecycle, a_spec, ask, until
from longshore.errors import HostBusy
from longshore.lifecycle import collection as room
from longshore.lifecycle.collection import Watermarks
from longshore.model.node import Space
from longshore.model.transfer import Auth, PullPolicy

#: The clock of the fake lifecycle begins at 1000 and goes on by one with each look.
LONG_AGO = 1.0


class Disk:
    """A hundred blocks, of which each image takes ten and something else the rest."""

    def __init__(self, life: Lifecycle, other: int) -> None:
        self._life = life
        self._other = other

    def space(self) -> Space:
        return Space(self._other + 10 * len(self._life.fake.images.content), 100)


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    life = Lifecycle(tmp_path)
    life.fake.images.there.clear()
    life.fake.images.content.clear()
    for number in range(5):
        life.fake.images.add(
            replace(an_image(f"i{number}", str(number)), created_at=LONG_AGO + number)
        )
    return life


def collection(life: Lifecycle, other: int, marks: Watermarks) -> room.Collection:
    disk = Disk(life, other)
    return room.Collection(life.shelf, marks, disk.space, lambda: 10000.0)


def left(life: Lifecycle) -> str:
    return " ".join(image.name.split("/")[-1].split(":")[0] for image in life.fake.images.list())


TABLE = [
    # high, low, min_age, used by others: what stays, how many sentences
    (85, 75, 0.0, 35, "i0 i1 i2 i3 i4", 0),  # 85 %: not above
    (84, 75, 0.0, 35, "i1 i2 i3 i4", 1),  # 85 % → 75 %
    (84, 60, 0.0, 35, "i3 i4", 3),
    (84, 10, 0.0, 35, "", 5),  # 35 % is below the high mark: enough
    (20, 10, 0.0, 35, "", 6),  # and that is not
    (84, 10, 9997.5, 35, "i2 i3 i4", 2),  # the others are too young
    (84, 10, 99999.0, 35, "i0 i1 i2 i3 i4", 1),
    (100, 0, 0.0, 50, "i0 i1 i2 i3 i4", 0),
]


@pytest.mark.parametrize(("high", "low", "min_age", "other", "stays", "said"), TABLE)
def test_the_longest_unused_go_until_there_is_room(
    life: Lifecycle, high: int, low: int, min_age: float, other: int, stays: str, said: int
) -> None:
    told = collection(life, other, Watermarks(high, low, min_age)).run()
    assert left(life) == stays
    assert len(told) == said


def sentences(told: Sequence[str], beginning: str) -> int:
    return sum(one.startswith(beginning) for one in told)


ALL = Watermarks(1, 0, 0.0)


def test_what_was_used_lately_goes_last(life: Lifecycle) -> None:
    spec = a_spec(image="i0")
    life.containers.create(ask(), spec)
    life.containers.delete(ask(), spec.id, force=True)
    told = collection(life, 35, Watermarks(84, 45, 0.0)).run()
    assert left(life) == "i0"
    assert sentences(told, "removed image docker.io/library/i") == 4
    assert "% full" in told[0]


def test_what_is_in_use_stays_though_the_disk_is_full(life: Lifecycle) -> None:
    made, accepted = a_spec(image="i0"), a_spec(image="i1", pull="always")
    life.containers.create(ask(), made)
    life.containers.create(ask(wait="accepted"), accepted)
    life.images.tag("i2", "other:2")
    life.fake.images.tag("i0", "other:0")
    told = collection(life, 50, ALL).run()
    assert left(life) == "i0 i1 other"
    assert "in use or too young" in told[-1]
    # By all its names, or not at all.
    assert sentences(told, "removed image docker.io/library/i2:latest, docker.io/library/other:2")


def test_what_is_on_its_way_or_looked_at_stays(life: Lifecycle) -> None:
    life.fake.sources.have("i3", "new")
    life.fake.sources.answer.clear()
    interest = life.pulls.join("i3", PullPolicy.ALWAYS, Auth())
    with life.holds.hold("docker.io/library/i4:latest"):
        collection(life, 50, ALL).run()
    assert left(life) == "i3 i4"
    life.fake.sources.answer.set()
    until(lambda: interest.done)


def test_what_nobody_needs_goes_before_any_image(life: Lifecycle) -> None:
    life.fake.images.content["sha256:left by a pull"] = 1
    assert collection(life, 35, Watermarks(85, 75, 0.0)).run() == ()
    assert left(life) == "i0 i1 i2 i3 i4"
    assert len(life.fake.images.content) == 5


def test_nothing_is_removed_while_nothing_can_be_collected(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tick would take another image's names, and there would be no more room."""
    collect, tries = life.fake.images.collect, iter([None, None, HostBusy("cannot: the test")])

    def sometimes(busy: Collection[str]) -> int:
        if (error := next(tries, HostBusy("cannot: the test"))) is not None:
            raise error
        return collect(busy)

    monkeypatch.setattr(life.fake.images, "collect", sometimes)
    told = collection(life, 50, ALL).run()
    assert left(life) == "i2 i3 i4"  # the second did not help any more
    assert sentences(told, "removed image docker.io/library/i") == 2
    assert "cannot: the test" in told[-1]
    with pytest.raises(HostBusy):
        collection(life, 50, ALL).run()
    assert left(life) == "i2 i3 i4"


def test_the_tick_does_it_and_says_so(life: Lifecycle) -> None:
    assert life.sweep.run().findings == ()
    life.space = Space(99, 100)
    findings = life.sweep.run().findings
    assert sentences(findings, "removed image") == 5
    assert sentences(findings, "the disk of the images is 99 % full") == 1
    assert left(life) == ""
