"""The page of verbs and states, tests/VERBS.md: python -m verbs.page (`make verbs`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from longshore.model.state import State
from verbs import inside, table
from verbs.inside import Cells
from verbs.ward import ward

PAGE = Path(__file__).parents[1] / "VERBS.md"
_HEAD = """\
# Every verb in every state

Written by `make verbs` from `tests/verbs/`; do not edit. For each cell a container is brought into
the state, and the verb asked for over both doors, which must agree. `no` is a refusal, for the
reason that is given by its number below; `so` there stands for the state.

"""
_CHANGING = """\
## Verbs that change a container

`a → b`: it does it, the container is `a` when that is promised and `b` in the end; one word: it is
so at once, or stays so.

"""
_INSIDE = """\
## Verbs that look at a container, or work in it

They leave it in its state. A cell says what comes back. The bus has what fits into one answer, and
the local socket the streams too; `door` says which of them has the verb.

"""


def changing() -> str:
    """The part of the verbs that change a container."""
    return _HEAD + _CHANGING + _rendered((), table.cells())


def looking(cells: Cells) -> str:
    """The part of the others, after that."""
    rows: Mapping[tuple[str, ...], Sequence[str]] = {
        (words, " and ".join(inside.ROWS[words].doors)): [
            inside.said(cells[words, state], state) for state in State
        ]
        for words in inside.ROWS
    }
    return "\n" + _INSIDE + _rendered(("door",), rows)


def _rendered(more: Sequence[str], rows: Mapping[tuple[str, ...], Sequence[str]]) -> str:
    """A table, and the reasons in it. `more`: heads of columns beside the verb and the states."""
    reasons: dict[str, int] = {}
    head = ("verb", *more, *State)
    lines = [head, ("---",) * len(head)]
    for (words, *beside), cells in rows.items():
        lines.append((f"`{words}`", *beside, *(_short(one, reasons) for one in cells)))
    told = "\n".join(f"{number}. {reason}" for reason, number in reasons.items())
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{told}\n"


def _short(outcome: str, reasons: dict[str, int]) -> str:
    if ": " not in outcome:
        return outcome
    return f"no ({reasons.setdefault(outcome, len(reasons) + 1)})"


def main() -> None:
    with ward() as one:
        cells = inside.cells(one)
    PAGE.write_text(changing() + looking(cells))


if __name__ == "__main__":
    main()
