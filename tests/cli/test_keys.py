"""The keys that leave a container to itself."""

from __future__ import annotations

import pytest

from longshore.cli.keys import DEFAULT, Watched, parse


def test_keys_are_read_as_docker_writes_them() -> None:
    assert parse(DEFAULT) == b"\x10\x11"
    assert parse("ctrl-A,x,ctrl-[") == b"\x01x\x1b"
    assert parse("") == b""
    for wrong in ("ctrl-", "ctrl-1", "xy", "a,,b", "é"):
        with pytest.raises(ValueError, match="is no key"):
            parse(wrong)


@pytest.mark.parametrize("step", [1, 2, 100])
@pytest.mark.parametrize(
    ("typed", "passed", "detached"),
    [
        (b"abc", b"abc", False),
        (b"ab\x10\x11cd", b"ab", True),
        (b"\x10x", b"\x10x", False),
        (b"\x10\x10\x11", b"\x10", True),
        (b"a\x10", b"a", False),
        (b"\x10a\x10\x11", b"\x10a", True),
    ],
)
def test_what_is_typed_is_passed_on_but_the_keys(
    typed: bytes, passed: bytes, detached: bool, step: int
) -> None:
    watched, got = Watched(b"\x10\x11"), b""
    for at in range(0, len(typed), step):
        if not watched.detached:
            got += watched.pass_on(typed[at : at + step])
    assert (got, watched.detached) == (passed, detached)


def test_without_keys_all_is_passed_on() -> None:
    assert Watched(b"").pass_on(b"\x10\x11") == b"\x10\x11"
