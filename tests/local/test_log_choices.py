"""What of a log is asked for, over the local API."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fakes.node import FakeNode
from longshore.errors import InvalidRequest
from longshore.local.client import LocalClient
from longshore.model.status import LogChunk

SPEC = {"id": "6f2d7ad0-5d1f-4f0e-9d0a-1b6f3c6a7b11", "name": "web", "image": "web:1"}


def test_all_of_it_arrives(client: LocalClient, node: FakeNode) -> None:
    client.create(SPEC)
    written = [LogChunk("stdout", b"one\n", 12.5, 0), LogChunk("stdout", b"two\n", 13.0, 2**40)]
    node.output[SPEC["id"]] = written
    chosen = {"since": 12.0, "until": 14.5, "stream": "stdout", "timestamps": True}
    assert list(client.logs("web", tail=5, **chosen)) == written  # type: ignore[arg-type]  # as words
    assert node.asked[-1] == ("logs", "web", 5, False, chosen)


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        ({"tail": -1}, "tail"),
        ({"since": math.nan}, "since"),
        ({"until": math.inf}, "until"),
        ({"stream": "stdin"}, "stream"),
    ],
)
def test_what_is_wrong(client: LocalClient, choice: dict[str, Any], field: str) -> None:
    client.create(SPEC)
    with pytest.raises(InvalidRequest, match=f"cannot read the log: {field}") as refused:
        next(client.logs("web", **choice))
    assert refused.value.field == field
