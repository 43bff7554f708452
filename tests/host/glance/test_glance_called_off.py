"""A Glance that takes connections and says nothing keeps nobody who does not want to wait."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from host.glance.kit import BOUNDS, NOBODY, Clock, Recorder, settings_of
from longshore.errors import PullCancelled
from longshore.host.glance.source import Glance
from longshore.model.reference import GLANCE

ID = "0f6c0f6c-0f6c-4f6c-8f6c-0f6c0f6c0f6c"


@pytest.mark.parametrize("what", ["web", ID])
def test_called_off_before_the_answer(tmp_path: Path, what: str) -> None:
    watch = Recorder()
    watch.cancelled.set()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v3"
        glance = Glance(settings_of(url, timeout=5.0), BOUNDS, tmp_path, Clock().chance)
        with pytest.raises(PullCancelled):
            glance.resolve(f"{GLANCE}{what}", NOBODY, watch)
