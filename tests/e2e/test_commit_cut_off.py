"""The agent goes away while a container is frozen for a commit: the container must not stay so."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from e2e.lab import Lab, until
from e2e.pulling import stored
from longshore.errors import LongshoreError
from longshore.model.status import ImageStatus

pytestmark = pytest.mark.usefixtures("clean")

#: Nothing on the disk, and half a minute to compare.
LARGE = "truncate -s 16G /large; echo ready; exec sleep 1000"


@pytest.fixture
def container(lab: Lab) -> Iterator[str]:
    id = lab.client.create(lab.spec(command=["sh", "-c", LARGE])).id
    until(lambda: b"ready" in b"".join(chunk.data for chunk in lab.client.logs(id)))
    yield id
    lab.client.delete(id, force=True)


def task(lab: Lab, id: str) -> str:
    lines = lab.containerd.ctr("tasks", "ls", namespace=lab.namespace).splitlines()
    return next(line.split()[2] for line in lines if line.startswith(id))


@contextmanager
def committing(lab: Lab, id: str) -> Iterator[Future[ImageStatus]]:
    """In the midst of it: its processes are frozen, and a part of the layer is written."""
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(lab.client.commit, id, "cut/off:1")
        until(lambda: any(line.startswith("ingest ") for line in stored(lab)))
        assert task(lab, id) == "PAUSED"
        yield made


def test_stopped_in_a_commit(lab: Lab, container: str) -> None:
    """It goes on before the agent leaves, and nothing is left of the image."""
    before, said = stored(lab), len(lab.agent.log.read_text())
    with committing(lab, container) as made:
        lab.agent.stop()
        assert task(lab, container) == "RUNNING"
        assert isinstance(made.exception(30), LongshoreError)
    until(lambda: stored(lab) == before)
    log = lab.agent.log.read_text()[said:]
    assert "Traceback" not in log
    assert "some work did not end in time" not in log
    lab.agent.start()
    assert lab.client.show(container).state == "running"


def test_killed_in_a_commit(lab: Lab, container: str) -> None:
    """The next life lets it go on."""
    before = stored(lab)
    with committing(lab, container) as made:
        lab.agent.kill()
        assert task(lab, container) == "PAUSED"
        lab.agent.start()
        until(lambda: task(lab, container) == "RUNNING")
        assert isinstance(made.exception(30), LongshoreError)
    lab.client.prune_images()
    until(lambda: stored(lab) == before)
