"""Leases: what keeps the garbage collector away from things that nothing refers to yet.

Three kinds, told apart by their names: `create-<container>`, `pull-<key>#<attempt>` and
`load-<number>`. A pull's outlives an agent that is killed, so that its next life can go on; a
load's does not, because what it read from is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import uuid4

from longshore.errors import Conflict, Interrupted, LongshoreError, NotFound
from longshore.host.containerd.client import Client
from longshore.pb.containerd import leases_pb2

LOG = logging.getLogger(__name__)

#: Waiting for the collector means waiting for the disk.
_COLLECT_TIMEOUT = 60.0
#: The same in an agent that stops: containerd goes on by itself, and others wait for us.
_BRIEFLY = 1.0
#: A lease is given back when its work is done; this is for an agent that never comes back.
LIFETIME = timedelta(hours=24)
_EXPIRE = "containerd.io/gc.expire"
_LOAD = "load-"
_PULL = "pull-"


def take(client: Client, lease: str) -> None:
    """Makes the lease. One of that name that is there already is taken over."""
    until = (datetime.now(UTC) + LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")
    request = leases_pb2.CreateRequest(id=lease, labels={_EXPIRE: until})
    try:
        client.call(client.leases.Create, request, f"take lease {lease}", object=lease)
    except Conflict:
        return


def give_back(client: Client, lease: str, *, collect: float | None = None) -> None:
    """Removes the lease; one that is gone is fine.

    Args:
        collect: wait, for so many seconds, until the garbage collector has removed what only the
            lease protected; None: it comes when it comes.
    """
    request = leases_pb2.DeleteRequest(id=lease, sync=collect is not None)
    what = f"give back lease {lease}"
    try:
        client.call(client.leases.Delete, request, what, object=lease, timeout=collect)
    except NotFound:
        return


@contextmanager
def held(client: Client, lease: str) -> Iterator[None]:
    """Holds the lease for the body. If that fails, all that it made is gone afterwards; if the
    agent stops (Interrupted), soon."""
    take(client, lease)
    try:
        yield
    except BaseException as error:
        _undo(client, [lease], error)
        raise
    _done(client, [lease])


@contextmanager
def temporary(client: Client) -> Iterator[str]:
    """A lease for what is begun anew if the agent dies; yields its name. As `held`."""
    lease = f"{_LOAD}{uuid4()}"
    with held(client, lease):
        yield lease


@contextmanager
def of_pull(client: Client, key: str) -> Iterator[str]:
    """A lease for the transfer of what has this key; yields its name. One at a time per key.

    What earlier attempts hold stays until this one is done: what it needs it takes over. If it
    fails, all is gone; if the agent stops (Interrupted), all is there for the next attempt.
    """
    earlier = [lease for lease in names(client) if _is_of(lease, [key])]
    # One of its own each time: the expiry of a lease cannot be moved.
    lease = f"{_prefix(key)}{uuid4().hex[:12]}"
    take(client, lease)
    try:
        yield lease
    except Interrupted:
        raise
    except BaseException as error:
        _undo(client, [*earlier, lease], error)
        raise
    _done(client, [*earlier, lease])


def hold_snapshot(client: Client, lease: str, snapshotter: str, key: str) -> None:
    """Protects a snapshot that may be there already; one that is not is no error."""
    _hold(client, lease, f"snapshots/{snapshotter}", key)


def hold_content(client: Client, lease: str, digest: str) -> None:
    """Protects a blob, and what it refers to; one that is not there is no error."""
    _hold(client, lease, "content", digest)


def names(client: Client) -> list[str]:
    """Names of all leases in the namespace, also those that have expired."""
    answer = client.call(client.leases.List, leases_pb2.ListRequest(), "list leases")
    return [lease.id for lease in answer.leases]


def abandon_loads(client: Client) -> None:
    """Lets go of what loads of an earlier life left unfinished. For the agent's start."""
    for lease in names(client):
        if lease.startswith(_LOAD):
            give_back(client, lease)


def abandon_pulls(client: Client, busy: Collection[str]) -> None:
    """Lets go of what pulls left that nobody goes on with; `busy`: the keys of the others."""
    for lease in names(client):
        if lease.startswith(_PULL) and not _is_of(lease, busy):
            give_back(client, lease)


def collect(client: Client, timeout: float = _COLLECT_TIMEOUT) -> None:
    """Has containerd remove what nothing needs, and waits until that is done."""
    lease = f"{_LOAD}{uuid4()}"
    take(client, lease)
    give_back(client, lease, collect=timeout)


def _hold(client: Client, lease: str, kind: str, id: str) -> None:
    resource = leases_pb2.Resource(id=id, type=kind)
    request = leases_pb2.AddResourceRequest(id=lease, resource=resource)
    client.call(client.leases.AddResource, request, f"hold {kind} {id}", object=lease)


def _done(client: Client, leases: Sequence[str]) -> None:
    """What the body made is there, whatever becomes of the leases."""
    for lease in leases:
        try:
            give_back(client, lease)
        except LongshoreError as error:
            LOG.warning("lease %s stays until it expires: %s", lease, error)


def _undo(client: Client, leases: Sequence[str], error: BaseException) -> None:
    try:
        # Collected only then: a containerd that hangs is not waited for as long as its disk.
        for lease in leases:
            give_back(client, lease)
        collect(client, _BRIEFLY if isinstance(error, Interrupted) else _COLLECT_TIMEOUT)
    except LongshoreError as second:
        error.add_note(f"and then: {second}")


def _prefix(key: str) -> str:
    # A lease's name is a header of HTTP.
    return f"{_PULL}{quote(key, safe=':')}#"


def _is_of(lease: str, keys: Collection[str]) -> bool:
    return lease.startswith(tuple(_prefix(key) for key in keys))
