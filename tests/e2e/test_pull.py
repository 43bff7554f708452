"""One pull for all who ask, and nobody waits for it who need not; what is not finished is gone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.lab.image import Layout, base_layer, layout_of, tar_of
from e2e.lab import code_of, until
from e2e.pulling import (
    Harbour,
    asked,
    check_resumed,
    fetched,
    files,
    image,
    pull,
    result,
    sizes,
    stored,
)
from fields.proofs import proves
from longshore.local.client import LocalClient

#: At once: more than the bus has workers.
COUNT = 20
#: Bytes of a layer, and how much of a pull comes before the wire is held up.
LAYER, BEGINNING = 2**20, 2**19


def test_many_creates_at_once_are_one_pull(harbour: Harbour, tmp_path: Path) -> None:
    lab, nodes, node = harbour.lab, harbour.nodes, harbour.node
    layout = _compressed("many:1")
    archive = tmp_path / "many.tar"
    archive.write_bytes(tar_of(layout.members()))
    digest = harbour.debian.push(archive, "many:1")
    name = f"{harbour.whole}/many:1"
    here = {line.partition(" ")[2] for line in harbour.before}
    harbour.valve.shut(after=BEGINNING)
    with ThreadPoolExecutor(COUNT) as pool:
        specs = [lab.spec(image=name) for _ in range(COUNT)]
        answers = [pool.submit(nodes.create, node, spec) for spec in specs]
        until(lambda: harbour.waiters() == [COUNT])
        for _ in range(3):  # as many of them as there are, what is here starts
            other = nodes.create(node, lab.spec())
            assert other.state == "running"
            assert nodes.delete(node, other.id, force=True).state == "absent"
        assert harbour.waiters() == [COUNT]
        harbour.valve.open()
        made = [answer.result() for answer in answers]
        assert [one.state for one in made] == ["running"] * COUNT
        assert {one.image_digest for one in made} == {digest}
        wanted = {one: 1 for one in _blobs(layout) if one not in here}
        assert len(wanted) == 4  # the layers but busybox's, and the config
        assert fetched(harbour.debian) == wanted
        gone = list(pool.map(lambda one: nodes.delete(node, one.id, force=True).state, made))
        assert gone == ["absent"] * COUNT
    lab.wait_clean()
    harbour.forget(name)


@pytest.mark.parametrize("begun", [0, BEGINNING], ids=["no-answer", "blobs-stall"])
def test_a_delete_waits_for_no_image(harbour: Harbour, begun: int) -> None:
    lab, node = harbour.lab, harbour.node
    name = harbour.serve(image("gone:1", 3, LAYER), f"gone:{begun}")
    harbour.valve.shut(after=begun)
    specs = [lab.spec(image=name) for _ in range(3)]
    with ThreadPoolExecutor(len(specs)) as pool:
        creates = [partial(harbour.nodes.create, node, spec) for spec in specs]
        answers = [pool.submit(code_of, create) for create in creates]
        until(lambda: harbour.waiters() == [3])
        assert [lab.client.show(spec["id"]).state for spec in specs] == ["creating"] * 3
        for spec in specs:
            # With less patience than the wire is held up for.
            gone = harbour.nodes.delete(node, spec["id"], deadline=5.0)
            assert gone.state == "absent"
        until(lambda: harbour.waiters() == [])
        assert [answer.result() for answer in answers] == ["superseded"] * 3
    lab.wait_clean()
    until(lambda: stored(lab) == harbour.before)


def test_one_of_two_leaves_and_the_other_gets_it(harbour: Harbour) -> None:
    lab, layout = harbour.lab, image("two:1", 3, LAYER)
    name = harbour.serve(layout, "two:1")
    seen = len(harbour.bad.seen)
    harbour.valve.shut(after=BEGINNING)
    with LocalClient(lab.agent.socket) as leaver:
        left, stays = leaver.pull_image(name), lab.client.pull_image(name)
        assert next(left).image == next(stays).image == name
        until(lambda: harbour.waiters() == [2])
        leaver.close()
        until(lambda: harbour.waiters() == [1])
    harbour.valve.open()
    assert result(stays).name == name
    assert asked(harbour.bad, seen) == {one: [0] for one in _blobs(layout)}
    harbour.forget(name)


def test_when_all_have_left_nothing_is_left(harbour: Harbour) -> None:
    lab = harbour.lab
    name = harbour.serve(image("none:1", 3, LAYER), "none:1")
    harbour.valve.shut(after=BEGINNING)
    with LocalClient(lab.agent.socket) as leaver:
        one, other = leaver.pull_image(name), lab.client.pull_image(name)
        next(one), next(other)
        until(lambda: harbour.waiters() == [2])
        until(lambda: any(line.startswith("ingest") for line in stored(lab)))
        leaver.close()
        other.close()
        until(lambda: harbour.waiters() == [])
    until(lambda: stored(lab) == harbour.before)


def test_the_agents_stop_keeps_what_has_come(harbour: Harbour) -> None:
    lab, layout = harbour.lab, image("stop:1", 3, LAYER)
    name = harbour.serve(layout, "stop:1")
    harbour.valve.shut(after=2 * BEGINNING)
    with ThreadPoolExecutor(1) as pool:
        pulled = pool.submit(pull, lab, name)
        created = lab.client.create(lab.spec(image=name), wait="accepted")
        until(lambda: _moved(harbour) > BEGINNING)
        said = len(lab.agent.log.read_bytes())
        lab.agent.stop()
        ended = lab.agent.log.read_bytes()[said:]
        assert b"longshore-agent leaves" in ended
        assert b"did not end in time" not in ended
        there, seen = sizes(lab), len(harbour.bad.seen)
        harbour.valve.open()
        lab.agent.start()
        assert pulled.result().name == name
    assert check_resumed(asked(harbour.bad, seen), there, layout, whole=True) > 0
    until(lambda: lab.client.show(created.id).state == "running")
    lab.client.delete(created.id, force=True)
    harbour.forget(name)


@proves("pull", back="whether it runs while its registry is stopped")
def test_what_is_here_needs_no_registry(harbour: Harbour, tmp_path: Path) -> None:
    """And what is not here says so, and leaves nothing but that."""
    lab, nodes, node = harbour.lab, harbour.nodes, harbour.node
    archive = tmp_path / "here.tar"
    archive.write_bytes(tar_of(_compressed("here:1").members()))
    harbour.debian.push(archive, "here:1")
    name = f"{harbour.debian.host}/here:1"
    pull(lab, name)
    harbour.debian.stop()
    for policy in ("if-not-present", "never"):
        made = nodes.create(node, lab.spec(image=name, pull=policy))
        assert made.state == "running"
        nodes.delete(node, made.id, force=True)
    refused: list[dict[str, Any]] = [
        lab.spec(image=name, pull="always"),
        lab.spec(image=f"{harbour.debian.host}/other:1"),
        # A name that no DNS server may know (RFC 6761, 6.4).
        lab.spec(image="registry.invalid/here:1"),
    ]
    with ThreadPoolExecutor(len(refused)) as pool:
        # The bus's client would ask again until its deadline.
        codes = pool.map(lambda spec: code_of(lambda: lab.client.create(spec)), refused)
        assert list(codes) == ["image_source_unavailable"] * len(refused)
    # What may pass is no answer: the same requests may be sent again.
    kept = [
        f"{what} of {spec['id']}" for what in ("record", "unanswered create") for spec in refused
    ]
    until(lambda: sorted(lab.left()) == sorted(kept))
    for spec in refused:
        failed = lab.client.show(spec["id"])
        assert (failed.state, failed.error and failed.error.code) == (
            "failed",
            "image_source_unavailable",
        )
        assert lab.client.delete(spec["id"]).state == "absent"
    harbour.debian.start()
    made = nodes.create(node, lab.spec(image=name, pull="always"))
    assert made.state == "running"
    nodes.delete(node, made.id, force=True)
    harbour.forget(name)


def _compressed(name: str) -> Layout:
    tars = [tar_of({f"file{n}": one}) for n, one in enumerate(files(name, 3, LAYER))]
    return layout_of(name, [base_layer(), *tars])


def _blobs(layout: Layout) -> list[str]:
    """Digests of config and layers."""
    manifest = layout.manifests[-1]["digest"]
    return [one for digest in layout.blobs if (one := f"sha256:{digest}") != manifest]


def _moved(harbour: Harbour) -> int:
    return sum(one.done for one in harbour.lab.client.node_status().transfers)
