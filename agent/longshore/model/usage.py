"""Which images are in use, by whom, and since when they were last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from longshore.model.record import Record
from longshore.model.reference import is_glance

#: What `used_key` begins with.
USED = "image used "


def used_key(digest: str) -> str:
    """Under what the journal remembers when a container was last made from an image (Unix seconds,
    as text)."""
    return f"{USED}{digest}"


def meant(uses: str) -> tuple[str, ...]:
    """A digest or a canonical name, and also the digest that such a name ends with: by it an image
    is found that has another name here."""
    _, at, digest = uses.rpartition("@")
    return (uses, digest) if at and not is_glance(uses) else (uses,)


def users(records: Iterable[Record]) -> Mapping[str, tuple[str, ...]]:
    """What must not be removed (a digest, or a canonical name: see `Record.uses`) → the names of
    the containers that need it."""
    found: dict[str, tuple[str, ...]] = {}
    for record in records:
        for one in {name for use in record.uses for name in meant(use)}:
            found[one] = (*found.get(one, ()), record.name)
    return found
