"""The credential of a create that pulls: used, forgotten, and asked for again after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fakes.lifecycle import Lifecycle, ask
from lifecycle.pulling import WEB, pulling, web
from longshore.errors import (
    ImageNotFound,
    Interrupted,
    InvalidSpec,
)
from longshore.model.transfer import Auth, Credential

ALICE = Credential("alice", "swordfish")


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path)
    life.fake.sources.have("web", labels={"a": "image", "b": "image"}, volumes=("/data",))
    yield life
    life.fake.sources.go.set()
    life.fake.sources.answer.set()


@pytest.fixture
def door() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(30) as pool:
        yield pool


def test_credentials_are_used_and_forgotten(
    life: Lifecycle, door: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    life.fake.sources.go.clear()
    spec, request = web(), ask()
    made = door.submit(life.containers.create, request, spec, credential=ALICE)
    pulling(life)
    assert life.fake.sources.asked == [(WEB, Auth(ALICE))]
    life.fake.sources.go.set()
    made.result(10)
    assert life.fetches._credentials == {}
    # It is no part of the request: without it the same is asked.
    assert life.containers.create(request, spec).state == "running"
    assert "swordfish" not in caplog.text
    assert b"swordfish" not in (life.folder / "state" / "journal.sqlite-wal").read_bytes()
    failing = web(image="moon")
    with pytest.raises(ImageNotFound):
        life.containers.create(ask(), failing, credential=ALICE)
    assert life.fetches._credentials == {}


def test_a_credential_that_a_restart_lost_is_asked_for_again(
    life: Lifecycle, door: ThreadPoolExecutor
) -> None:
    """Anonymously the registry would refuse for good what it gives to the one who asked."""
    life.fake.sources.go.clear()
    spec, request = web(), ask()
    made = door.submit(life.containers.create, request, spec, credential=ALICE)
    pulling(life)
    assert life.pulls.stop(10)
    assert isinstance(made.exception(10), Interrupted)
    life = life.next_life()
    assert {auth for _, auth in life.fake.sources.asked} == {Auth(ALICE)}
    shown = life.containers.show(spec.id)
    assert shown.error is not None
    assert (shown.state, shown.error.retry) == ("failed", True)
    life.fake.sources.go.set()
    assert life.containers.create(request, spec, credential=ALICE).state == "running"


def test_the_credential_comes_back_with_the_same_request(
    life: Lifecycle, door: ThreadPoolExecutor
) -> None:
    life.fake.sources.go.clear()
    spec, request = web(), ask()
    made = door.submit(life.containers.create, request, spec, credential=ALICE)
    pulling(life)
    assert life.pulls.stop(10)
    made.exception(10)
    # Asked again before the new life has looked at it by itself.
    life.journal.close()
    life = Lifecycle(life.folder, life.fake)
    life.fake.sources.go.set()
    assert life.containers.create(request, spec, credential=ALICE).state == "running"


def test_a_lost_credential_does_not_matter_for_what_is_here(life: Lifecycle) -> None:
    spec = web()
    life.containers.create(ask(wait="accepted"), spec, credential=ALICE)
    life = Lifecycle.next_life(life)
    life.settle_until(lambda: life.containers.show(spec.id).state == "failed")
    life.fake.images.add(life.fake.sources.there[WEB])
    other = web(pull="if-not-present")
    life.containers.create(ask(wait="accepted"), other, credential=ALICE)
    life = life.next_life()
    assert life.containers.show(other.id).state == "running"


def test_a_named_credential(life: Lifecycle) -> None:
    with pytest.raises(InvalidSpec) as caught:
        life.containers.create(ask(), web(image_credential="moon"))
    assert caught.value.field == "image_credential"
    assert [one["field"] for one in caught.value.faults] == ["image_credential"]
    life.containers.create(ask(), web(image_credential="known"))
    assert life.fake.sources.asked == [(WEB, Auth(name="known"))]
