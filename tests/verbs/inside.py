"""The verbs that look at a container or work in it, and what comes of each, by both doors."""

from __future__ import annotations

import io
import re
import tarfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from longshore.errors import DeadlineExceeded, LongshoreError
from longshore.local.client import LocalClient
from longshore.model.conditions import CONDITIONS
from longshore.model.filters import Filter
from longshore.model.state import State
from longshore.model.status import ContainerStatus, PlanStatus, ProcessStatus
from verbs.ward import NAME, Ward, name

T = TypeVar("T")
#: Seconds after which a stream that says nothing more is taken for one that goes on.
_QUIET = 1.5
#: Seconds: less than which nothing can be waited for.
_AT_ONCE = 0.001
_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PATCH = {"limits": {"pids": 99}}


@dataclass(frozen=True)
class Of:
    """A container that a verb is asked for. `ref`: what it is called there."""

    ward: Ward
    state: State
    ref: str

    @property
    def local(self) -> LocalClient:
        return self.ward.local

    @property
    def only(self) -> Filter:
        """Of a list that has no other in it."""
        return Filter(names=(f"^{name(self.state)}$",))

    def bus(self, verb: str, *more: Any, **named: Any) -> Any:
        return getattr(self.ward.bus, verb)(self.ward.node, self.ref, *more, **named)


@dataclass(frozen=True)
class Row:
    """Args:
    service: the methods of Service that it comes down to.
    local, bus: ask for it, and say in a few words what came of it; None: not by that door.
    inside: what the table of the agent calls it, if it has it.
    """

    service: tuple[str, ...]
    local: Callable[[Of], str] | None = None
    bus: Callable[[Of], str] | None = None
    inside: str | None = None

    @property
    def doors(self) -> Mapping[str, Callable[[Of], str]]:
        both = {"local": self.local, "bus": self.bus}
        return {door: asking for door, asking in both.items() if asking is not None}


def _cat(of: Of) -> str:
    with of.local.exec(of.ref, ["cat"], stdin=True) as stream:
        stream.write(b"ping")
        stream.end_input()
        assert b"".join(one.data for one in stream) == b"ping"
        return f"exit {stream.exit_code}"


def _attach(stdin: bool, of: Of) -> str:
    codes: list[int] = []

    def read(client: LocalClient) -> Iterable[bytes]:
        stream = client.attach(of.ref, stdin=stdin, from_start=True)

        def pieces() -> Iterable[bytes]:
            yield from (one.data for one in stream)
            codes.extend(() if stream.exit_code is None else (stream.exit_code,))

        return pieces()

    said, ended = _heard(of, read)
    return _came(b"".join(said), f"exit {codes[0]}" if ended else "goes on")


def _follow_logs(of: Of) -> str:
    said, ended = _heard(of, lambda client: (one.data for one in client.logs(of.ref, follow=True)))
    return _came(b"".join(said), "ends" if ended else "goes on")


def _came(said: bytes, end: str) -> str:
    return {b"": end, b"hello\n": f"its output, {end}"}[said]


def _heard(of: Of, begin: Callable[[LocalClient], Iterable[T]]) -> tuple[Sequence[T], bool]:
    """What a stream said until it was quiet, and whether it had ended by itself."""
    said: list[T] = []
    failures: list[LongshoreError] = []
    over = threading.Event()

    def read(pieces: Iterable[T]) -> None:
        try:
            said.extend(pieces)
        except LongshoreError as error:
            failures.append(error)
        over.set()

    # One of its own: closing it is what ends a stream that another thread reads.
    with LocalClient(of.ward.socket) as client:
        reader = threading.Thread(target=read, args=(begin(client),))
        reader.start()
        ended = over.wait(_QUIET)
    reader.join()
    if ended and failures:
        raise failures[0]
    return said, ended


def _lines(text: Iterable[str]) -> str:
    return {(): "empty", ("hello",): "its output"}[tuple(text)]


def _log(of: Of) -> str:
    data = b"".join(one.data for one in of.local.logs(of.ref))
    return _lines(data.decode().splitlines())


def _differences(paths: Iterable[Any]) -> str:
    return "what it made" if "/made" in {one.path for one in paths} else "nothing of its own"


def _processes(found: Sequence[ProcessStatus]) -> str:
    """However many: its server makes one for each question."""
    assert found[0].pid == 1
    return "its processes"


def _count(what: str, found: Sequence[Any]) -> str:
    return f"{len(found)} {what}" if found else f"no {what}"


def _told(of: Of, changes: Sequence[Any]) -> str:
    """The last of them is that it has come into its state."""
    if not changes:
        return "nothing"
    assert {one.id for one in changes} == {of.ward.ids[of.state]}
    assert changes[-1].state == of.state
    return "its changes"


def _watch(of: Of) -> str:
    changes, _ = _heard(of, lambda client: client.watch(0, refs=[of.ref]))
    return _told(of, changes)


def _events(of: Of) -> str:
    found = of.ward.bus.events(of.ward.node, 0, refs=[of.ref], timeout=0.0)
    return _told(of, found.changes)


def _planned(plan: PlanStatus) -> str:
    assert [one.field for one in plan.changes] == ["limits.pids"]
    assert plan.error is None
    return plan.when


def _waited(wait: Callable[[], Any]) -> str:
    try:
        wait()
    except DeadlineExceeded as error:
        if "condition" not in error.details:
            raise  # not by the agent, which says that it is over
        return "waits"
    return "at once"


def _wait(condition: str) -> Row:
    return Row(
        ("wait",),
        lambda of: _waited(lambda: of.local.wait(of.ref, condition, timeout=_AT_ONCE)),
        lambda of: _waited(lambda: of.bus("wait", condition, timeout=_AT_ONCE)),
    )


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("copied"))
    return file.getvalue()


_TAR = _tar()


def _members(data: bytes) -> str:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return _count("file", tar.getmembers())


def _copied_out(of: Of) -> str:
    _, pieces = of.local.copy_out(of.ref, "/etc/passwd")
    return _members(b"".join(pieces))


def _state(of: Of, status: ContainerStatus, words: str) -> str:
    assert (status.id, status.state) == (of.ward.ids[of.state], of.state)
    return words


#: Words of a row → what it is.
ROWS: Mapping[str, Row] = {
    "exec": Row(
        ("execute",),
        lambda of: f"exit {of.local.execute(of.ref, ['true']).exit_code}",
        lambda of: f"exit {of.bus('execute', ['true']).exit_code}",
        "exec",
    ),
    "exec -i": Row(("begin_exec",), _cat, inside="exec"),
    "attach": Row(("attach",), partial(_attach, False), inside="attach"),
    "attach, with input": Row(("attach",), partial(_attach, True), inside="attach"),
    "top": Row(
        ("top",),
        lambda of: _processes(of.local.top(of.ref)),
        lambda of: _processes(of.bus("top")),
        "top",
    ),
    "stats": Row(
        ("stats",),
        lambda of: _count("reading", of.local.stats([of.ref])),
        lambda of: _count("reading", of.ward.bus.stats(of.ward.node, [of.ref])),
        "stats",
    ),
    # Before anything is copied in.
    "diff": Row(
        ("diff",),
        lambda of: _differences(of.local.diff(of.ref)),
        lambda of: _differences(of.bus("diff")),
        "diff",
    ),
    "cp, out of it": Row(
        ("copy_out",),
        _copied_out,
        lambda of: _members(of.bus("copy_out", "/etc/passwd")[1]),
        "copy_out",
    ),
    "cp, into it": Row(
        ("copy_in",),
        lambda of: f"{of.local.copy_in(of.ref, '/tmp', lambda: [_TAR])} file",
        lambda of: f"{of.bus('copy_in', '/tmp', _TAR)} file",
        "copy_in",
    ),
    "logs": Row(
        ("logs", "recent_logs"), _log, lambda of: _lines(one.text for one in of.bus("logs").lines)
    ),
    "logs -f": Row(("logs",), _follow_logs),
    "show, inspect": Row(
        ("show",),
        lambda of: _state(of, of.local.show(of.ref), "its status"),
        lambda of: _state(of, of.bus("show"), "its status"),
    ),
    "list": Row(
        ("list",),
        lambda of: _count("container", of.local.list(of.only)),
        lambda of: _count("container", of.ward.bus.list(of.ward.node, of.only)),
    ),
    "explain": Row(
        ("explain",),
        lambda of: _state(of, of.local.explain(of.ref).container, "its story"),
        lambda of: _state(of, of.bus("explain").container, "its story"),
    ),
    "events": Row(("changes", "last_change"), _watch, _events),
    "plan": Row(
        ("plan",),
        lambda of: _planned(of.local.plan(of.ref, _PATCH)),
        lambda of: _planned(of.bus("plan", _PATCH)),
    ),
    "versions": Row(
        ("versions",),
        lambda of: _count("version", of.local.versions(of.ref)),
        lambda of: _count("version", of.bus("versions")),
    ),
    "versions --diff": Row(
        ("compare_versions",),
        lambda of: _count("difference", of.local.compare_versions(of.ref, 1, 1)),
        lambda of: _count("difference", of.bus("compare_versions", 1, 1)),
    ),
    **{f"wait, {condition}": _wait(condition) for condition in CONDITIONS},
}


@dataclass(frozen=True)
class Came:
    """What came of a verb: a few words, or an error."""

    words: str = ""
    error: LongshoreError | None = None


#: By row and state: what came of it, by door.
Cells = Mapping[tuple[str, State], Mapping[str, Came]]


def cells(ward: Ward) -> Cells:
    """Asks for all of them. None takes its container out of its state."""

    def asked(row: Row, state: State) -> Mapping[str, Came]:
        came = {
            door: _came_of(asking, Of(ward, state, _ref(ward, state, door)))
            for door, asking in row.doors.items()
        }
        assert ward.state(state) is state
        return came

    found = {}
    with ThreadPoolExecutor(len(State)) as pool:
        for words, row in ROWS.items():
            of_it = pool.map(partial(asked, row), State)
            found.update({(words, state): came for state, came in zip(State, of_it, strict=True)})
    return found


def said(by_door: Mapping[str, Came], state: State) -> str:
    """What came of it by the first of its doors, in words that are alike in every state."""
    came = next(iter(by_door.values()))
    if came.error is None:
        return came.words
    text = re.sub(_ID, NAME, str(came.error).replace(f"{NAME}-{state}", NAME))
    return f"{came.error.code}: " + re.sub(rf"\bit is {state}\b(: .*)?$", _so, text)


def _so(found: re.Match[str]) -> str:
    return "it is so: REASON" if found[1] else "it is so"


def _ref(ward: Ward, state: State, door: str) -> str:
    """By its name at one door and by its id at the other: an error says its name whatever it is
    asked by."""
    by_name = door == "local" and state is not State.ABSENT
    return name(state) if by_name else ward.ids[state]


def _came_of(asking: Callable[[Of], str], of: Of) -> Came:
    try:
        return Came(asking(of))
    except LongshoreError as error:
        return Came(error=error)
