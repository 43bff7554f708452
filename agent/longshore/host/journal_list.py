"""The records that a filter lets through, found without reading the others.

What a filter looks at is taken out of the documents by SQLite; a record as a whole, which takes
Python a hundred times as long, is read only of those that are in the answer.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence

from longshore.model.filters import EVERYTHING, Filter, Outline, select
from longshore.model.reference import canonical

_ALL = "SELECT id, document FROM records ORDER BY created_at, id"
#: What is no JSON, and what another release wrote otherwise, has no place in an answer either.
_OUTLINES = """
SELECT id, created_at, json_extract(document,
    '$.spec.name', '$.state', '$.spec.image', '$.facts.image.digest',
    '$.facts.image.config.labels', '$.spec.labels', '$.health.state')
FROM records WHERE json_valid(document)
"""


def documents(database: sqlite3.Connection, filter: Filter) -> Sequence[tuple[str, str]]:
    """Ids, and records as JSON text, in the filter's order.

    Raises:
        ContainerNotFound: as `select`.
    """
    if filter == EVERYTHING:
        return database.execute(_ALL).fetchall()
    ids = select(_outlines(database), filter)
    return [
        row
        for id in ids
        for row in database.execute("SELECT id, document FROM records WHERE id = ?", (id,))
    ]


def _outlines(database: sqlite3.Connection) -> Iterator[Outline]:
    for id, created_at, text in database.execute(_OUTLINES):
        name, state, image, digest, of_image, own, health = json.loads(text)
        if name is not None and state is not None and image is not None:
            labels = {**(of_image or {}), **(own or {})}
            yield Outline(*(id, name, state, created_at, _canonical(image), digest, labels, health))


def _canonical(image: str) -> str:
    try:
        return canonical(image)
    except ValueError:
        return image
