"""What the demo leaves at neighbours that are not its own: a containerd and a broker in use.

Only what is in the demo's own namespace, or under its own node's name, is removed.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import kombu
import kombu.exceptions

from longshore.bus.transport import EXCHANGE, TOPIC, queue

#: Seconds for each command, and for the garbage collector's part of the work.
_PATIENCE = 30.0


def clear_namespace(socket: Path, namespace: str) -> None:
    """Removes a containerd namespace with its tasks, containers, snapshots, leases and images.

    Raises:
        RuntimeError: something of it cannot be removed; the message is ctr's own.
    """
    if namespace not in _ctr(socket, None, "namespaces", "ls", "-q").split():
        return

    _empty(socket, namespace)
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            _ctr(socket, None, "namespaces", "rm", namespace)
        except RuntimeError:
            # Layers go one after the other, each when nothing stands on it any more.
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def _empty(socket: Path, namespace: str) -> None:
    """In the order in which nothing is in use any more."""
    for kind, *words in (
        ("tasks", "rm", "--force"),
        ("containers", "rm"),
        ("snapshots", "rm"),
        ("leases", "rm"),
        ("images", "rm", "--sync"),
    ):
        for name in _listed(socket, namespace, kind):
            _ctr(socket, namespace, kind, *words, name)


def _listed(socket: Path, namespace: str, kind: str) -> Sequence[str]:
    if kind != "snapshots":
        return _ctr(socket, namespace, kind, "ls", "-q").split()
    # The layers go with their image; only what a container wrote is removed by name.
    lines = _ctr(socket, namespace, kind, "ls").splitlines()[1:]
    return [line.split()[0] for line in lines if line.split()[-1] == "Active"]


def delete_queues(url: str, node: str) -> None:
    """Deletes the node's queue, and what all agents share if no other uses it.

    Fanout and reply queues expire by themselves.

    Raises:
        RuntimeError: the broker does not answer.
    """
    with kombu.Connection(_amqp(url), connect_timeout=5.0) as connection:
        try:
            connection.ensure_connection(max_retries=1)
        except kombu.exceptions.OperationalError as error:
            raise RuntimeError(f"cannot delete the demo's queues: {error}") from error
        channel = connection.channel()
        channel.queue_delete(queue(node))
        refused = connection.channel_errors
        with suppress(*refused):
            channel.queue_delete(TOPIC, if_unused=True, if_empty=True)
        with suppress(*refused):
            connection.channel().exchange_delete(EXCHANGE, if_unused=True)


def _amqp(url: str) -> str:
    """The first broker of an oslo.messaging URL, as kombu writes it."""
    _, _, rest = url.partition("://")
    hosts, slash, host_path = rest.partition("/")
    path = host_path.partition("?")[0]
    return f"amqp://{hosts.split(',')[0]}{slash}{path}"


def _ctr(socket: Path, namespace: str | None, *words: str) -> str:
    where = ["--namespace", namespace] if namespace else []
    command = ["ctr", "--address", str(socket), *where, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if done.returncode:
        raise RuntimeError(f"cannot {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
