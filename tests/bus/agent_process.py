"""An agent in a process of its own, to be killed: `agent_process.py URL NODE`.

It takes creates and never finishes them; each line that it prints is `up` or a request id.
"""

from __future__ import annotations

import sys
import threading
import time

from oslo_config import cfg

from fakes.service import FakeService
from longshore.bus.server import BusServer
from longshore.model.request import Request
from longshore.model.spec import ContainerSpec
from longshore.model.status import ContainerStatus
from longshore.model.transfer import Credential


class NeverDone(FakeService):
    def create(
        self,
        request: Request,
        spec: ContainerSpec,
        *,
        start: bool = True,
        credential: Credential | None = None,
    ) -> ContainerStatus:
        print(request.id, flush=True)
        threading.Event().wait()
        raise AssertionError


if __name__ == "__main__":
    agent = BusServer(cfg.ConfigOpts(), sys.argv[1], sys.argv[2], NeverDone())
    agent.start()
    while agent.state().state != "up":
        time.sleep(0.02)
    print("up", flush=True)
    threading.Event().wait()
