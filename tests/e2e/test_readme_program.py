"""The README's scheduler in ten lines, run as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from bench.lab.image import busybox_archive
from bench.lab.rabbitmq import PrivateRabbit
from bench.readme import README
from e2e.lab import Lab
from longshore.bus.client import ComputeClient


@pytest.mark.usefixtures("clean")
def test_the_scheduler_in_the_readme_works_as_printed(
    lab: Lab, rabbit: PrivateRabbit, nodes: ComputeClient
) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len([line for line in program.splitlines() if line]) == 10
    archive = busybox_archive(lab.agent.archives / "readme.tar", "readme:1")
    done = subprocess.run(
        [sys.executable, "-c", program, rabbit.url, lab.agent.node, str(archive)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"running \d+\.\d+\.\d+\.\d+ \d+\n", done.stdout)
    assert "docker.io/library/readme:1" in [
        image.name for image in nodes.list_images(lab.agent.node)
    ]
    assert not nodes.list(lab.agent.node)
