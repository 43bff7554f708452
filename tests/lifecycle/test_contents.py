"""The content of files: in the journal until it is written, and shown to nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes.lifecycle import Died, Lifecycle, a_spec, ask, patched
from longshore.errors import HostFailed, InvalidSpec, RequestConflict
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec, parse, recorded

CONTENT = "a word that is nowhere else"
FILES = [{"target": "/a", "content": CONTENT}, {"target": "/b", "content": ""}]


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


@pytest.fixture
def written(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, ...]]:
    """What the files were written with."""
    found: list[tuple[str | None, ...]] = []
    real = life.fake.files.write

    def write(names: Names, spec: ContainerSpec, facts: Any) -> None:
        found.append(tuple(one.content for one in spec.files))
        real(names, spec, facts)

    monkeypatch.setattr(life.fake.files, "write", write)
    return found


def documents(life: Lifecycle) -> str:
    """All records and outcomes."""
    with life.journal.transaction(durable=False) as tx:
        rows = tx._database.execute(
            "SELECT document FROM records UNION ALL SELECT ifnull(outcome, '') FROM requests"
        ).fetchall()
    return " ".join(row[0] for row in rows)


@pytest.mark.parametrize("start", [True, False])
def test_kept_until_written(
    life: Lifecycle, written: list[tuple[str | None, ...]], start: bool
) -> None:
    spec, request = a_spec(files=FILES), ask()
    made = life.containers.create(request, spec, start=start)
    assert written == [(CONTENT, "")]
    assert CONTENT not in documents(life)
    shown = [one["content"] for one in made.spec["files"]]
    assert shown == [None, None]
    assert recorded(made.spec).files[0].target == "/a"
    with pytest.raises(InvalidSpec) as refused:
        parse(made.spec)
    assert [one["field"] for one in refused.value.faults] == [
        "files[0].content",
        "files[1].content",
    ]
    # It is part of what makes two requests the same.
    assert life.containers.create(request, spec, start=start) == made
    other = spec.model_copy(update={"files": a_spec(files=[{**FILES[0], "content": "x"}]).files})
    with pytest.raises(RequestConflict):
        life.containers.create(request, other, start=start)


def test_the_agent_died_before_they_were_written(
    life: Lifecycle, written: list[tuple[str | None, ...]]
) -> None:
    def die(_: object) -> None:
        raise Died

    spec = a_spec(files=FILES)
    with patched("rootfs", do=die), pytest.raises(Died):
        life.containers.create(ask(), spec)
    assert CONTENT not in life.containers.show(spec.id).model_dump_json()
    assert written == []
    again = life.next_life()
    assert again.containers.show(spec.id).state == "running"
    assert written == [(CONTENT, "")]
    assert CONTENT not in documents(again)


def test_a_create_that_fails_keeps_none(life: Lifecycle) -> None:
    def fail(_: object) -> None:
        raise HostFailed("cannot: the test says so")

    with patched("start", do=fail), pytest.raises(HostFailed):
        life.containers.create(ask(), a_spec(files=FILES))
    assert CONTENT not in documents(life)
