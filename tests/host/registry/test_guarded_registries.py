"""The table of registries whose guard goes wrong, or that send elsewhere: nobody else hears who we
are, and whatever happens, nothing is left behind in containerd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.lab.bad_images import good
from bench.lab.bad_registry import BadRegistry
from bench.lab.certificates import Authority, Certificate
from bench.lab.faults import (
    Change,
    Fault,
    body,
    cut,
    error,
    redirect,
    status,
)
from bench.lab.token_server import USER
from host.registry.pulled import HTML, OURS, TRIES, Parts, Pull
from longshore.model.transfer import Auth, Credential

Order = Callable[[Parts], Sequence[Fault]]
UNAVAILABLE, FAILED, DENIED = (
    "image_source_unavailable",
    "image_source_failed",
    "image_source_denied",
)
BAD, MISSING = "bad_image", "image_not_found"
BUSY = error(429, "TOOMANYREQUESTS", Retry_After="3")


def _token(change: Change, times: int | None = None) -> list[Fault]:
    return [Fault("token", change, times)]


def _answers(answer: bytes) -> list[Fault]:
    return _token(status(200, answer))


def _other_token(_: bytes) -> bytes:
    return b'{"token": "some-other-token"}'


def _challenge(value: str) -> list[Fault]:
    asked = status(401, WWW_Authenticate=value)
    return [Fault("manifest", asked, method=one) for one in ("HEAD", "GET")]


@dataclass(frozen=True)
class Guard:
    """Args:
    kind: how the registry wants to know who asks.
    tokens: how often a token was asked for.
    """

    wrong: str
    kind: str
    faults: Callable[[], list[Fault]]
    code: str = ""
    tokens: int = 0
    auth: Auth = OURS


WRONG = Auth(Credential(USER, "not-the-password"))
GUARDS = (
    Guard("nothing, with a password", "basic", list),
    Guard("nothing, with a token", "bearer", list, tokens=1),
    Guard("nothing, and a token for nobody", "bearer", list, tokens=1, auth=Auth()),
    Guard("the token server has a bad moment", "bearer", lambda: _token(status(500), 2), tokens=3),
    Guard("the token server wants to be left alone", "bearer", lambda: _token(BUSY, 1), tokens=2),
    Guard("nobody may come in", "basic", list, DENIED, auth=Auth()),
    Guard("another password is wanted", "basic", list, DENIED, auth=WRONG),
    Guard("the token server wants another password", "bearer", list, DENIED, 1, WRONG),
    Guard("the token server refuses", "bearer", lambda: _token(error(403, "DENIED")), DENIED, 1),
    Guard("the token server fails", "bearer", lambda: _token(status(500)), UNAVAILABLE, TRIES),
    Guard("the token server hangs up", "bearer", lambda: _token(cut(-1)), UNAVAILABLE, TRIES),
    Guard("the token server is none", "bearer", lambda: _token(status(404)), FAILED, 1),
    Guard("the token server answers in HTML", "bearer", lambda: _answers(HTML), FAILED, 1),
    Guard("the token server gives no token", "bearer", lambda: _answers(b"{}"), FAILED, 1),
    Guard("the token server gives a list", "bearer", lambda: _answers(b"[1]"), FAILED, 1),
    Guard("the token holds a line break", "bearer",
          lambda: _answers(b'{"token": "a\\r\\nX: y"}'), FAILED, 1),
    Guard("the token has megabytes", "bearer",
          lambda: _answers(b'{"token": "' + b"x" * 3_000_000 + b'"}'), FAILED, 1),
    Guard("the token server sends us elsewhere", "bearer",
          lambda: _token(status(307, Location="https://127.0.0.1:1/token")), FAILED, 1),
    Guard("the token is not the one", "bearer", lambda: _token(body(_other_token)), DENIED, 2),
    Guard("the way to be known is unheard of", "", lambda: _challenge("Negotiate"), FAILED),
    Guard("nothing is said of how to be known", "", lambda: _challenge(""), FAILED),
    Guard("the token server speaks no TLS", "",
          lambda: _challenge('Bearer realm="http://127.0.0.1:1/token"'), FAILED),
    Guard("the token server is a file", "",
          lambda: _challenge('Bearer realm="file:///etc/passwd"'), FAILED),
    Guard("there is no token server", "", lambda: _challenge("Bearer"), FAILED),
)  # fmt: skip


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.wrong)
def test_a_guarded_registry(pull: Pull, guard: Guard) -> None:
    pull.bad.auth = guard.kind
    pull.auth = guard.auth
    pull.bad.serve(good(guard.wrong))
    pull.bad.order(*guard.faults())
    if guard.code:
        failure = pull.refused(guard.code)
        assert "not-the-password" not in str(failure.to_dict())
    else:
        pull.done()
    assert pull.bad.count("token") == guard.tokens


def test_a_token_that_ends_in_the_middle_of_a_pull(pull: Pull) -> None:
    layout = good("token ends")
    pull.bad.auth, pull.auth = "bearer", OURS
    pull.bad.serve(layout)
    again = f'Bearer realm="{pull.bad.url}/token",service="lab"'
    pull.bad.order(Fault("blob", status(401, WWW_Authenticate=again), 1, Parts.of(layout).layer))
    pull.done()
    assert pull.bad.count("token") == 2


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_blobs_at_another_host(pull: Pull, certificate: Certificate, kind: str) -> None:
    """Who we are is nobody's business there."""
    layout = good(f"elsewhere {kind}")
    pull.bad.auth, pull.auth = kind, OURS
    pull.bad.serve(layout)
    with BadRegistry(certificate, host="localhost") as storage:
        storage.serve(layout)
        pull.bad.order(Fault("blob", redirect(storage.url)))
        pull.done()
        assert storage.count("blob") == 3
        assert {request.auth for request, _ in storage.seen} == {""}


def test_blobs_that_are_nowhere(pull: Pull, certificate: Certificate) -> None:
    pull.bad.serve(good("nowhere"))
    with BadRegistry(certificate, host="localhost") as storage:
        pull.bad.order(Fault("blob", redirect(storage.url)))
        pull.refused(FAILED)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("authority", "ca"), ("expired", "ca"), ("name", "ca"), ("plain", "plain_http")],
)
def test_a_registry_that_is_not_to_be_trusted(
    pull: Pull, authority: Authority, tmp_path: Path, wrong: str, hint: str
) -> None:
    made: dict[str, Callable[[], Certificate | None]] = {
        "authority": lambda: Authority(tmp_path, "stranger").issue("stranger-server"),
        "expired": lambda: authority.issue("expired", expired=True),
        "name": lambda: authority.issue("other-name", ["DNS:registry.example.org"]),
        "plain": lambda: None,
    }
    with BadRegistry(made[wrong]()) as bad:
        bad.serve(good(wrong))
        pull.bad = bad
        failure = pull.refused(FAILED)
        assert failure.hint is not None
        assert hint in failure.hint
        assert bad.seen == []


def test_a_registry_that_is_asked_without_tls(pull: Pull) -> None:
    pull.lines = ["plain_http = true"]
    pull.bad.serve(good("asked plainly"))
    pull.refused(UNAVAILABLE)
    assert pull.bad.seen == []
