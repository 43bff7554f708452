"""The agent runs on threads: what it has no use for is not even imported."""

from __future__ import annotations

import subprocess
import sys

import pytest


def printed(program: str) -> str:
    """By a Python of its own, which has imported nothing yet."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["daemon", "bus.client"])
def test_eventlet_stays_outside(module: str) -> None:
    assert printed(f"import sys, longshore.{module}; print('eventlet' in sys.modules)") == "False"


def test_a_scheduler_that_has_it_keeps_it() -> None:
    program = (
        "import sys, eventlet, longshore.bus.client; print(sys.modules['eventlet'] is eventlet)"
    )
    assert printed(program) == "True"


def test_a_scheduler_may_import_it_later() -> None:
    assert printed("import longshore.bus.client, eventlet; print(eventlet.__name__)") == "eventlet"
