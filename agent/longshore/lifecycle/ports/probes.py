"""What asks a container's server whether it does its work."""

from __future__ import annotations

from typing import Protocol

from longshore.model.probing import Where


class Probes(Protocol):
    """Both return once it is known, or after `timeout` seconds: whether the server is well, and
    what it said, or why not. They make no process, and leave nothing behind.

    Raises NotFound: the container's network is gone. HostFailed: it cannot be entered. Interrupted:
    the agent stops.
    """

    def http(
        self, where: Where, port: int, path: str, *, tls: bool, timeout: float
    ) -> tuple[bool, str]:
        """Asks for a page; 200 to 399 is well. No certificate is checked."""

    def tcp(self, where: Where, port: int, *, timeout: float) -> tuple[bool, str]:
        """Connects, and hangs up."""
