"""Which changes a watcher hears of."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.model.interest import Interest
from longshore.model.status import Change

ID = "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001"


def a_change(**changes: Any) -> Change:
    fields: dict[str, Any] = {
        "seq": 1,
        "at": 1.0,
        "id": ID,
        "name": "web",
        "previous": "a",
        "state": "b",
    }
    return Change(**{**fields, "generation": 1, "reason": "", **changes})


@pytest.mark.parametrize(
    ("interest", "has"),
    [
        (Interest(), True),
        (Interest(["web"]), True),
        (Interest(["db", "web"]), True),
        (Interest([ID]), True),
        (Interest([ID[:4]]), True),
        (Interest([ID[:3]]), False),
        (Interest(["we"]), False),
        (Interest(kinds=["state"]), True),
        (Interest(kinds=["health"]), False),
        (Interest(["web"], ["health"]), False),
    ],
)
def test_interest(interest: Interest, has: bool) -> None:
    assert interest.has(a_change()) is has
    assert interest.has(a_change(kind="gap", id="", name=""))
