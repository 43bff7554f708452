"""Data of an image on their way: connections that break, lie or stall, and disks that are full."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.certificates import Authority
from bench.lab.openstack import PrivateOpenStack
from host.glance import proxy as faults
from host.glance.kit import (
    BOUNDS,
    NOBODY,
    Clock,
    Recorder,
    failure,
    fetching,
    glance_of,
    pull,
    refusal,
)
from host.glance.proxy import Fault, GlanceProxy
from longshore.host.glance.attended import LOOK
from longshore.host.glance.download import FRUITLESS
from longshore.host.glance.settings import Bounds
from longshore.host.glance.source import Glance
from longshore.model.reference import GLANCE

DATA = "/file"


@pytest.mark.parametrize(
    ("planned", "ranges"),
    [
        ([faults.cut(70000), faults.cut(70000)], [None, "bytes=65536-", "bytes=131072-"]),
        ([faults.cut(70000), faults.ignores_range], [None, "bytes=65536-"]),
        ([faults.cut(0), faults.cut(0)], [None, None, None]),
        ([faults.status(503), faults.cut(70000)], [None, None, "bytes=65536-"]),
        ([faults.cut(70000), faults.status(502)], [None, "bytes=65536-", "bytes=65536-"]),
    ],
    ids=["resumed twice", "ignores range", "nothing came", "busy", "busy in the middle"],
)
def test_a_connection_that_breaks_is_resumed(
    behind: Glance,
    proxy: GlanceProxy,
    web: str,
    planned: list[Fault],
    ranges: list[str | None],
    same_digest: list[str],
) -> None:
    proxy.order(DATA, *planned)
    assert pull(behind, web) == same_digest
    assert [one.range for one in proxy.requests(DATA)] == ranges


@pytest.mark.parametrize(
    ("planned", "code", "why", "asked"),
    [
        ([faults.falsified], "bad_image", "sha512", 1),
        ([faults.longer], "bad_image", "more bytes", 1),
        ([faults.cut(70000), faults.other_range], "image_source_failed", "another range", 2),
        ([faults.cut(0)] * 9, "image_source_unavailable", "break off at 0 of", FRUITLESS),
        ([faults.status(503)] * 9, "image_source_unavailable", "Glance answers 503: busy", 3),
        ([faults.status(404)], "image_not_found", "was deleted", 1),
        ([faults.status(403)], "image_source_denied", "403", 1),
        ([faults.status(302, Location="http://127.0.0.1:1/")], "image_source_failed", "302", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_ends_a_transfer_leaves_nothing(
    behind: Glance,
    proxy: GlanceProxy,
    web: str,
    spool: Path,
    planned: list[Fault],
    code: str,
    why: str,
    asked: int,
) -> None:
    proxy.order(DATA, *planned)
    error = failure(lambda: pull(behind, web))
    assert (error.code, why in error.message) == (code, True), error.message
    assert len(proxy.requests(DATA)) == asked
    assert list(spool.iterdir()) == []


def test_later_is_waited_for_as_asked_but_not_for_ever(
    behind: Glance, proxy: GlanceProxy, web: str, clock: Clock
) -> None:
    proxy.order(web, faults.status(429, Retry_After="2"), faults.status(503, Retry_After="9999"))
    behind.resolve(f"{GLANCE}{web}", NOBODY)
    assert clock.slept == [2.0, 5.0]


@pytest.mark.parametrize("data", [b"", b"no JSON", b"[]", b'{"images": 1}', b"[" * 10**6])
def test_an_answer_that_makes_no_sense(
    behind: Glance, proxy: GlanceProxy, web: str, data: bytes
) -> None:
    for path, what in ((web, web), ("/images", "web")):
        proxy.order(path, faults.body(data))
        assert refusal(behind, what).code == "image_source_failed"


def check_cancel(node: Glance, proxy: GlanceProxy, web: str, spool: Path) -> None:
    """Though Glance is silent and would be waited for: the look in between notices."""
    proxy.order(DATA, faults.stall(4096))
    source = node.resolve(f"{GLANCE}{web}", NOBODY)
    watch = Recorder()
    timer = threading.Timer(LOOK / 2, watch.cancelled.set)
    timer.start()
    assert fetching(source, watch).code == "pull_cancelled"
    timer.join()
    assert list(spool.iterdir()) == []


def test_nobody_waits_any_more(behind: Glance, proxy: GlanceProxy, web: str, spool: Path) -> None:
    check_cancel(behind, proxy, web, spool)


def test_with_tls(
    cloud: PrivateOpenStack,
    web: str,
    spool: Path,
    clock: Clock,
    same_digest: list[str],
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path / "tls")
    tls = authority.issue("glance").server()
    with GlanceProxy(cloud.glance_port, tls) as proxy:
        stranger = glance_of(cloud, spool, clock, endpoint_override=proxy.url)
        error = refusal(stranger, web)
        assert error.code == "image_source_failed"
        assert "certificate" in error.message
        assert "cafile" in str(error.hint)
        node = glance_of(
            cloud, spool, clock, endpoint_override=proxy.url, cafile=str(authority.pem)
        )
        proxy.order(DATA, faults.cut(70000))
        assert pull(node, web) == same_digest
        assert len(proxy.requests(DATA)) == 2
        check_cancel(node, proxy, web, spool)


def test_silence_breaks_a_connection_and_it_is_resumed(
    cloud: PrivateOpenStack,
    proxy: GlanceProxy,
    web: str,
    spool: Path,
    clock: Clock,
    same_digest: list[str],
) -> None:
    impatient = Bounds(BOUNDS.size, 3.0, BOUNDS.seconds)
    node = glance_of(cloud, spool, clock, bounds=impatient, endpoint_override=proxy.url)
    proxy.order(DATA, faults.stall(4096))
    assert pull(node, web) == same_digest
    assert len(proxy.requests(DATA)) == 2


def test_an_image_larger_than_allowed_is_not_asked_for(
    cloud: PrivateOpenStack,
    proxy: GlanceProxy,
    web: str,
    spool: Path,
    clock: Clock,
    archive: bytes,
) -> None:
    small = Bounds(len(archive) - 1, 10.0, 60.0)
    node = glance_of(cloud, spool, clock, bounds=small, endpoint_override=proxy.url)
    error = failure(lambda: pull(node, web))
    assert error.code == "message_too_large"
    assert "archive_max" in error.message
    assert proxy.requests(DATA) == []


@pytest.fixture
def small_disk(tmp_path: Path, archive: bytes) -> Iterator[Path]:
    """A file system on which the image just fits."""
    folder = tmp_path / "small"
    folder.mkdir()
    size = len(archive) + 2**16
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "lsh", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_without_room_is_not_written_to(
    cloud: PrivateOpenStack, proxy: GlanceProxy, web: str, small_disk: Path, clock: Clock
) -> None:
    node = glance_of(cloud, small_disk, clock, endpoint_override=proxy.url)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2**20))
    error = failure(lambda: pull(node, web))
    assert error.code == "exhausted"
    assert "bytes free" in error.message
    assert proxy.requests(DATA) == []
    filler.unlink()
    assert pull(node, web)


def test_a_disk_that_fills_up_meanwhile(
    cloud: PrivateOpenStack, proxy: GlanceProxy, web: str, small_disk: Path, clock: Clock
) -> None:
    node = glance_of(cloud, small_disk, clock, endpoint_override=proxy.url)
    filler = small_disk / "filler"

    def fill(_: faults.Handler) -> bool:
        filler.write_bytes(bytes(2**20))
        return False

    proxy.order(DATA, fill)
    error = failure(lambda: pull(node, web))
    assert error.code == "exhausted"
    assert os.strerror(errno.ENOSPC) in error.message
    assert list(small_disk.iterdir()) == [filler]
