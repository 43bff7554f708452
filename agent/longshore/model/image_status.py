"""Images, as callers and operators are shown them; see status.py."""

from __future__ import annotations

from typing import Any

from longshore.model.value import Value


class ImageStatus(Value):
    """`size`: bytes of content (compressed layers and config), 0 if that is not all there, or not
    for this node; `used_by`: names of containers.

    `used_at`: when a container was last made from it; None: not since it came.
    """

    name: str
    digest: str
    size: int
    created_at: float
    used_by: tuple[str, ...] = ()
    used_at: float | None = None


class ImageLayer(Value):
    """`size`: bytes as they are stored and sent, mostly compressed."""

    digest: str
    diff_id: str
    media_type: str
    size: int


class ImageDetail(ImageStatus):
    """An image with all that decides how its containers run.

    `names`: all names of its digest. `platform`: os/architecture[/variant]. `healthcheck` is
    kept and not run.
    """

    names: tuple[str, ...] = ()
    platform: str = ""
    layers: tuple[ImageLayer, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""
    stop_signal: str = ""
    labels: dict[str, str] = {}
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    healthcheck: dict[str, Any] | None = None
