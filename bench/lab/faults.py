"""What can go wrong with an answer of bad_registry's, as changes to the right one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Request:
    """`kind`: ping, manifest, blob, begin (of an upload), upload, token. `target`: the tag, digest
    or upload. `auth`: the header as it came. `start`, `stop`: of the range that it asks for.
    `length`: of its body."""

    method: str
    kind: str
    target: str
    auth: str
    start: int | None = None
    stop: int | None = None
    length: int = 0


@dataclass(frozen=True)
class Answer:
    """What goes over the wire.

    Args:
        length: the Content-Length; None: what the body has; -1: none, the connection's end tells.
        cut: the connection ends after so many bytes of the body; -1: before any header.
        reset: it ends by RST, else by FIN.
        stall: nothing more comes after so many bytes of the body; -1: not even a header.
        take: only so many bytes of the request's body are read before the connection ends.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    cut: int | None = None
    reset: bool = False
    stall: int | None = None
    take: int | None = None

    def having(self, **headers: str | None) -> Answer:
        """With headers set, or taken away by None; `_` in a name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in self.headers.items() if name not in named}
        new = {name: value for name, value in named.items() if value is not None}
        return replace(self, headers=kept | new)


Change = Callable[[Request, Answer], Answer]


@dataclass
class Fault:
    """`times`: how many more requests meet it, None: all. `target`: only of this tag or digest.
    `least`: only those with a body of so many bytes."""

    kind: str
    change: Change
    times: int | None = None
    target: str | None = None
    method: str = "GET"
    least: int = 0

    def meets(self, request: Request) -> bool:
        same = (request.kind, request.method) == (self.kind, self.method)
        same = same and self.target in (None, request.target) and request.length >= self.least
        if not same or self.times == 0:
            return False
        self.times = None if self.times is None else self.times - 1
        return True


def cut(after: int, *, reset: bool = False) -> Change:
    return lambda _, answer: replace(answer, cut=after, reset=reset)


def stall(after: int) -> Change:
    return lambda _, answer: replace(answer, stall=after)


def take(size: int) -> Change:
    return lambda _, answer: replace(answer, take=size)


def status(code: int, body: bytes = b"", **headers: str) -> Change:
    """Answers nothing but this."""
    return lambda _, answer: Answer(code, body=body).having(**headers)


def error(code: int, name: str, message: str = "as ordered", **headers: str) -> Change:
    """An error as the specification has it."""
    body = json.dumps({"errors": [{"code": name, "message": message}]}).encode()
    return status(code, body, Content_Type="application/json", **headers)


def headers(**values: str | None) -> Change:
    return lambda _, answer: answer.having(**values)


def body(change: Callable[[bytes], bytes]) -> Change:
    """Other bytes, with the Content-Length that fits them."""
    return lambda _, answer: replace(answer, body=change(answer.body))


def length(by: int) -> Change:
    """A Content-Length that is wrong by so much."""
    return lambda _, answer: replace(answer, length=len(answer.body) + by)


def unmeasured() -> Change:
    """No Content-Length: the body ends with the connection."""
    return lambda _, answer: replace(answer, length=-1)


def ranged(change: Change) -> Change:
    """Only where a part of the blob is asked for."""
    return lambda request, answer: answer if request.start is None else change(request, answer)


def redirect(to: str, code: int = 307) -> Change:
    """To the same blob at another registry's `elsewhere`."""
    return lambda request, _: Answer(code).having(Location=f"{to}/elsewhere/{request.target}")


def both(*changes: Change) -> Change:
    def change(request: Request, answer: Answer) -> Answer:
        for one in changes:
            answer = one(request, answer)
        return answer

    return change
