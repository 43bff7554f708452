"""Images to the real Glance, and back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.lab.openstack import PrivateOpenStack
from host.glance import proxy as faults
from host.glance.kit import NOBODY, Recorder, failure, pull
from host.glance.proxy import Fault, GlanceProxy
from longshore.host.containerd import archive as archives
from longshore.host.glance.source import Glance
from longshore.model.documents import Descriptor
from longshore.model.reference import GLANCE
from longshore.model.transfer import Content


@pytest.fixture
def content(archive: bytes, tmp_path: Path) -> Iterator[Content]:
    file = tmp_path / "busybox.tar"
    file.write_bytes(archive)
    with archives.opened(file, spool=tmp_path, limit=2**30) as found:
        yield found.only()


def listed(cloud: PrivateOpenStack, name: str) -> list[str]:
    """Ids of all images of the name, whatever their state; as admin, who sees all projects'."""
    return [one["id"] for one in cloud.glance("GET", f"/v2/images?name={name}")["images"]]


def push(glance: Glance, name: str, content: Content, watch: Recorder | None = None) -> str:
    return glance.push(f"{GLANCE}{name}", content, NOBODY, watch or Recorder())


def test_there_and_back(cloud: PrivateOpenStack, glance: Glance, content: Content) -> None:
    watch = Recorder()
    id = push(glance, "sent", content, watch)
    made = cloud.openstack("image", "show", id, "-f", "json")
    assert (made["status"], made["container_format"], made["name"]) == ("active", "docker", "sent")
    (candidate,) = content.candidates
    assert made["properties"]["longshore_digest"] == candidate.digest
    assert watch.totals == {id: made["size"]}
    assert watch.seen[-1] == made["size"]
    assert watch.done == [id]
    assert pull(glance, "sent") == [candidate.digest]


def test_what_is_there_is_not_sent_again(
    cloud: PrivateOpenStack, behind: Glance, proxy: GlanceProxy, content: Content
) -> None:
    first = push(behind, "twice", content)
    proxy.order("")
    assert push(behind, "twice", content) == first
    assert [one.method for one in proxy.asked] == ["GET"]
    assert push(behind, "other name", content) != first


@pytest.mark.parametrize(
    ("path", "fault", "code"),
    [
        ("/file", faults.status(500), "image_source_unavailable"),
        ("/file", faults.status(413), "image_source_failed"),
        ("/file", faults.status(403), "image_source_denied"),
        ("/file", faults.corrupts, "bad_image"),
        ("/file", faults.hangs_up, "image_source_unavailable"),
    ],
)
def test_nothing_stays_of_one_that_failed(
    cloud: PrivateOpenStack,
    behind: Glance,
    proxy: GlanceProxy,
    content: Content,
    path: str,
    fault: Fault,
    code: str,
) -> None:
    proxy.order(path, fault)
    assert failure(lambda: push(behind, "failing", content)).code == code
    assert len(proxy.requests("/file")) == 1
    assert listed(cloud, "failing") == []


def test_nobody_waits_any_more(cloud: PrivateOpenStack, glance: Glance, content: Content) -> None:
    watch = Recorder(cancel_at=1)
    assert failure(lambda: push(glance, "cancelled", content, watch)).code == "pull_cancelled"
    assert listed(cloud, "cancelled") == []


def test_an_image_that_cannot_be_read_is_not_begun(
    behind: Glance, proxy: GlanceProxy, content: Content
) -> None:
    class Broken:
        candidates = content.candidates
        parallel = 1
        read = content.read

        @contextmanager
        def open(self, descriptor: Descriptor, offset: int = 0) -> Iterator[io.BytesIO]:
            yield io.BytesIO(b"")

    assert failure(lambda: push(behind, "broken", Broken())).code == "bad_image"
    assert proxy.asked == []


def test_an_id_is_not_for_us_to_give(glance: Glance, content: Content, web: str) -> None:
    error = failure(lambda: push(glance, web, content))
    assert error.code == "invalid_request"
    assert "glance://<name>" in str(error.hint)
