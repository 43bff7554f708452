"""Images from the real Glance: by id and name, as they change, and what must be refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.lab.openstack import PrivateOpenStack
from host.glance import proxy as faults
from host.glance.kit import (
    BOUNDS,
    NOBODY,
    Clock,
    Recorder,
    failure,
    falsify,
    fetching,
    glance_of,
    pull,
    refusal,
)
from host.glance.proxy import GlanceProxy
from longshore.host.glance.settings import Bounds
from longshore.host.glance.source import Glance
from longshore.model.reference import GLANCE

DATA = "/file"


def test_by_id_and_by_name_it_is_one_image(glance: Glance, web: str, archive: bytes) -> None:
    by_id, by_name, shouted = (
        glance.resolve(f"{GLANCE}{what}", NOBODY) for what in (web, "web", web.upper())
    )
    assert by_id.name == by_name.name == shouted.name == f"glance://{web}"
    assert by_id.key == by_name.key
    assert by_id.key.startswith(f"glance:{web}:sha512:")
    watch = Recorder()
    assert len(pull(glance, "web", watch)) == 1
    assert watch.totals == {web: len(archive)}
    assert watch.seen[-1] == len(archive)
    assert watch.done == [web]


def test_from_the_openstack_client(
    cloud: PrivateOpenStack, glance: Glance, archive: bytes, tmp_path: Path, same_digest: list[str]
) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(archive)
    made = cloud.openstack(
        "image", "create", "--container-format", "docker", "--disk-format", "raw",
        "--file", file, "from the client", "-f", "json",
    )  # fmt: skip
    assert glance.resolve(f"{GLANCE}from the client", NOBODY).name == f"{GLANCE}{made['id']}"
    assert pull(glance, made["id"]) == same_digest


def test_a_new_image_of_the_name_has_another_key(
    cloud: PrivateOpenStack, glance: Glance, archive: bytes
) -> None:
    first = cloud.upload("moving", archive)
    before = glance.resolve(f"{GLANCE}moving", NOBODY)
    cloud.upload("moving", None)
    assert glance.resolve(f"{GLANCE}moving", NOBODY).key == before.key
    second = cloud.upload("moving", archive)
    several = refusal(glance, "moving")
    assert several.code == "invalid_request"
    assert several.details["ids"] == sorted([first, second])
    assert all(id in several.message for id in (first, second))
    cloud.glance("DELETE", f"/v2/images/{first}")
    after = glance.resolve(f"{GLANCE}moving", NOBODY)
    assert after.name == f"{GLANCE}{second}"
    assert after.key != before.key


def deactivated(cloud: PrivateOpenStack, archive: bytes) -> str:
    id = cloud.upload("off", archive)
    cloud.glance("POST", f"/v2/images/{id}/actions/deactivate")
    return id


def deleted(cloud: PrivateOpenStack, archive: bytes) -> str:
    id = cloud.upload("gone", archive)
    cloud.glance("DELETE", f"/v2/images/{id}")
    return id


def queued(cloud: PrivateOpenStack, _: bytes) -> str:
    return cloud.upload("empty", None)


def bare(cloud: PrivateOpenStack, archive: bytes) -> str:
    return cloud.upload("disk", archive, container_format="bare")


def somebody_elses(cloud: PrivateOpenStack, archive: bytes) -> str:
    return cloud.upload("private", archive, visibility="private")


def never_made(_: PrivateOpenStack, __: bytes) -> str:
    return "00000000-0000-4000-8000-000000000000"


def no_such_name(_: PrivateOpenStack, __: bytes) -> str:
    return "in:web,web"


@pytest.mark.parametrize(
    ("make", "code", "why"),
    [
        (deactivated, "image_source_denied", "deactivated"),
        (deleted, "image_not_found", "was deleted"),
        (queued, "image_source_unavailable", "not uploaded yet (Glance says queued)"),
        (bare, "bad_image", "container_format is bare, not docker"),
        (somebody_elses, "image_not_found", "that the node may see"),
        (never_made, "image_not_found", "that the node may see"),
        (no_such_name, "image_not_found", "no image of this name"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_used_says_why(
    cloud: PrivateOpenStack,
    glance: Glance,
    archive: bytes,
    make: Callable[[PrivateOpenStack, bytes], str],
    code: str,
    why: str,
) -> None:
    id = make(cloud, archive)
    error = refusal(glance, id)
    assert (error.code, why in error.message) == (code, True), error.message
    assert id in error.message


def test_deactivated_or_deleted_between_the_question_and_the_data(
    cloud: PrivateOpenStack, glance: Glance, archive: bytes, spool: Path
) -> None:
    ids = [cloud.upload("late", archive) for _ in range(2)]
    found = [glance.resolve(f"{GLANCE}{id}", NOBODY) for id in ids]
    cloud.glance("POST", f"/v2/images/{ids[0]}/actions/deactivate")
    cloud.glance("DELETE", f"/v2/images/{ids[1]}")
    for source, code, why in zip(
        found, ("image_source_denied", "image_not_found"), ("deactivated", "deleted"), strict=True
    ):
        error = fetching(source, Recorder())
        assert (error.code, why in error.message) == (code, True), error.message
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("at", [-1, 1000])
def test_data_that_are_not_what_was_uploaded(
    cloud: PrivateOpenStack, glance: Glance, archive: bytes, spool: Path, at: int
) -> None:
    id = cloud.upload("falsified", archive)
    falsify(cloud.images / id, at)
    watch = Recorder()
    error = failure(lambda: pull(glance, id, watch))
    assert error.code == "bad_image"
    assert "do not have the sha512" in error.message
    assert watch.done == []
    assert list(spool.iterdir()) == []


def test_a_store_that_lost_the_end_of_the_data(
    cloud: PrivateOpenStack, spool: Path, clock: Clock, archive: bytes
) -> None:
    glance = glance_of(cloud, spool, clock, bounds=Bounds(BOUNDS.size, 0.2, BOUNDS.seconds))
    id = cloud.upload("short", archive)
    os.truncate(cloud.images / id, 5000)
    assert failure(lambda: pull(glance, id)).code == "image_source_unavailable"


def test_hashes_that_prove_nothing(
    behind: Glance, proxy: GlanceProxy, cloud: PrivateOpenStack, web: str
) -> None:
    as_it_is = cloud.glance("GET", f"/v2/images/{web}")
    for change, code, why in (
        ({"os_hash_algo": "md5"}, "bad_image", "os_hash_algo 'md5'"),
        ({"os_hash_algo": "crc32"}, "bad_image", "os_hash_algo 'crc32'"),
        ({"os_hash_algo": None, "os_hash_value": None}, "bad_image", "no os_hash_value"),
        ({"os_hash_value": "abc"}, "bad_image", "is no sha512"),
        ({"size": None}, "bad_image", "how large"),
        ({"id": "../../etc"}, "image_source_failed", "describes no image"),
        ({"status": "killed"}, "image_not_found", "killed"),
        ({"status": "pending_delete"}, "image_not_found", "was deleted"),
    ):
        proxy.order(web, faults.body(json.dumps({**as_it_is, **change}).encode()))
        error = refusal(behind, web)
        assert (error.code, why in error.message) == (code, True), error.message
