"""Which containers a list has, in which order, and how many."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Filter:
    """Several of one kind: any of them. Several kinds: each of them.

    Args:
        labels: `key` or `key=value`.
        names: regular expressions, one of which is found in the name.
        ids: beginnings.
        images: names or digests.
        health: starting, healthy, unhealthy or none.
        sort: created, name, state or image; with `-` before it backwards.
        limit: at most so many.
        after: only what comes after the container of this id in that order.
    """

    labels: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    sort: str = "created"
    limit: int | None = None
    after: str | None = None


EVERYTHING = Filter()
