"""A lease that cannot be given back is no failure of what was made under it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from longshore.errors import BadImage, DeadlineExceeded, HostUnavailable
from longshore.host.containerd import leases
from longshore.host.containerd.client import Client

LEASES: list[Callable[[Client], AbstractContextManager[object]]] = [
    lambda client: leases.of_pull(client, "sha256:key"),
    lambda client: leases.held(client, "load-one"),
    leases.temporary,
]


@pytest.mark.parametrize("take", LEASES)
def test_it_stays_and_the_work_is_done(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    take: Callable[[Client], AbstractContextManager[object]],
) -> None:
    def slow(client: Client, lease: str, *, collect: float | None = None) -> None:
        raise DeadlineExceeded(f"cannot give back lease {lease}: no answer")

    done = False
    with monkeypatch.context() as patch:
        patch.setattr(leases, "give_back", slow)
        with take(client):
            done = True
        with pytest.raises(BadImage), take(client):
            raise BadImage("cannot use it: damaged")
    assert done
    left = leases.names(client)
    assert len(left) > 0
    assert "stays until it expires: cannot give back" in caplog.text
    for lease in left:
        leases.give_back(client, lease)


def test_a_closed_connection(client: Client) -> None:
    """What a thread hears that is still at work when the agent has left."""
    closed = Client(client.address, client.namespace)
    closed.close()
    with pytest.raises(HostUnavailable, match=r"cannot list leases: the connection .* is closed"):
        leases.names(closed)
