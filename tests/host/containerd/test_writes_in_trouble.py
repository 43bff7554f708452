"""Writes of content that end otherwise than they should: none says that it stored what is not here,
and none leaves a thread that waits."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.image import digest_of
from host.containerd.stepwise import until
from longshore.errors import BadImage, HostFailed
from longshore.host.containerd import content, introspect, leases
from longshore.host.containerd.client import Client
from longshore.host.containerd.ingest import Blob, Course
from longshore.model.transfer import Reader


@pytest.mark.parametrize(("announced", "kind"), [(100, BadImage), (5000, HostFailed)])
def test_another_namespace_has_it_with_another_size(
    client: Client, containerd: PrivateContainerd, announced: int, kind: type[Exception]
) -> None:
    data = os.urandom(4096)

    @contextmanager
    def opened(offset: int) -> Iterator[Reader]:
        yield io.BytesIO(data.ljust(announced, b"\0")[offset:announced])

    theirs = Client(client.address, "theirs")
    introspect.ensure_namespace(theirs)
    for one in (client, theirs):
        leases.take(one, "load-one")
    content.write(theirs, Blob(digest_of(data), len(data)), opened_all(data), "load-one", course())
    with pytest.raises(kind, match=r"were announced|expected number of bytes"):
        content.write(client, Blob(digest_of(data), announced), opened, "load-one", course())
    assert content.size(client, digest_of(data)) is None
    for one in (client, theirs):
        leases.give_back(one, "load-one", collect=60.0)
    theirs.close()
    containerd.ctr("namespaces", "rm", "theirs")
    assert digest_of(data) not in content.sizes(client)


def test_no_thread_to_draw_the_answers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(4096)
    before, start = set(threading.enumerate()), threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name.startswith("write "):
            raise RuntimeError("can't start new thread")
        start(thread)

    leases.take(client, "load-one")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(HostFailed, match="can't start new thread"):
            content.write(
                client, Blob(digest_of(data), len(data)), opened_all(data), "load-one", course()
            )
    until(lambda: set(threading.enumerate()) <= before)
    leases.give_back(client, "load-one", collect=60.0)


def opened_all(data: bytes) -> content.Opener:
    @contextmanager
    def opened(offset: int) -> Iterator[Reader]:
        yield io.BytesIO(data[offset:])

    return opened


def course() -> Course:
    return Course(30.0)
