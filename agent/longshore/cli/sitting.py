"""`run -i` and `run -t`: at the container's own input or terminal from its first byte on."""

from __future__ import annotations

import contextlib
import threading
from signal import Signals

import click

from longshore.cli import interactive
from longshore.cli.errors import INTERRUPTED
from longshore.cli.interactive import Ways
from longshore.errors import ContainerNotFound, IllegalTransition, LongshoreError
from longshore.local.client import LocalClient, Stream
from longshore.model.spec import ContainerSpec


def run(client: LocalClient, spec: ContainerSpec, keys: bytes) -> int | None:
    """Starts one that was made, and returns its exit code; None: it was left, and goes on.

    A signal to this program stops it, a second one leaves it; one that is to be removed once it has
    ended is removed then too.
    """

    def told(stream: Stream, came: Signals) -> None:
        del stream, came

        def stop() -> None:
            # It has ended by itself, or the stream says what is wrong.
            with contextlib.suppress(LongshoreError):
                client.stop(spec.id)

        threading.Thread(target=stop, daemon=True).start()

    def begin() -> Stream:
        size = interactive.size() if spec.tty else None
        return client.attach(spec.id, stdin=spec.stdin, from_start=True, size=size)

    started = False

    def start() -> None:
        nonlocal started
        client.start(spec.id)
        started = True

    code: int | None = INTERRUPTED
    try:
        code = interactive.run(
            begin, Ways(spec.tty, spec.stdin, keys if spec.tty else b"", told, start)
        )
    finally:
        if spec.auto_remove and (code == INTERRUPTED or not started):
            with contextlib.suppress(ContainerNotFound, IllegalTransition):
                client.delete(spec.id, force=True)
    if code is None:
        click.echo(f"left; it goes on: longshore attach {spec.name}", err=True)
    return code
