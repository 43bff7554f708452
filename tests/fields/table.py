"""The table of every field of a spec, tests/FIELDS.md: python -m fields.table (`make fields`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fields.proofs import TESTS, Proof, all_proofs
from fields.rows import ROWS
from fields.walk import fields

PAGE = TESTS / "FIELDS.md"
_LONGEST = 36
_HEAD = """\
# Every field of a spec

Written by `make fields` from `tests/fields/`; do not edit. Each value in the second column is
accepted, each in the third refused with the field's name (`tests/fields/test_fields_table.py`).
The last column names a test that makes a real container with the field set, and reads it back at
the place in the fourth. That it asked for the field is checked whenever it runs; that it reads it
back is for whoever reads it to see. What a node cannot do, or its policy forbids, is refused
besides.

"""


def rendered() -> str:
    """The page."""
    proofs = list(all_proofs())
    rows = [
        ("field", "accepted, for example", "refused, for example", "read back from", "by"),
        ("---",) * 5,
        *(_row(path, [one for one in proofs if path in one.fields]) for path in fields()),
    ]
    return _HEAD + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _row(path: str, proofs: Sequence[Proof]) -> tuple[str, ...]:
    row = ROWS[path]
    elsewhere = [value for values in row.elsewhere.values() for value in values]
    return (
        f"`{path}`",
        _values(row.accepted),
        _values([*row.refused, *elsewhere]),
        "<br>".join(dict.fromkeys(one.back for one in proofs)),
        "<br>".join(f"`{one.test.removeprefix('tests/')}`" for one in proofs),
    )


def _values(values: Sequence[Any]) -> str:
    return " ".join(f"`{_short(json.dumps(one, ensure_ascii=False))}`" for one in values)


def _short(text: str) -> str:
    text = text.replace("|", "\\|").replace("`", "'")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


if __name__ == "__main__":
    PAGE.write_text(rendered())
