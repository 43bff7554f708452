"""Which containers a list has, in which order, and how many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longshore.errors import ContainerNotFound
from longshore.model.reference import canonical
from longshore.model.state import State

#: Of one filter: values of a kind, characters of a value, and containers of an answer.
VALUES_MAX, TEXT_MAX, LIMIT_MAX = 64, 512, 100_000
#: What a health filter may say; `none`: nothing is probed.
HEALTH = ("starting", "healthy", "unhealthy", "none")
STATES = tuple(str(state) for state in State if state is not State.ABSENT)
_DIGEST = re.compile(r"sha256:[0-9a-f]{8,64}")
#: What a backtracking matcher may have to try more than once, and how many of those are harmless.
_CHOICES = re.compile(r"[*+?{(]")
_CHOICES_MAX = 3


@dataclass(frozen=True)
class Filter:
    """Several of one kind: any of them, but each of the labels. Several kinds: each of them.

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


@dataclass(frozen=True)
class Outline:
    """What a filter looks at. `image`: canonical; `digest`: of it, None until it is known.

    `labels`: with the image's. `health`: None: nothing is probed.
    """

    id: str
    name: str
    state: str
    created_at: float
    image: str
    digest: str | None
    labels: Mapping[str, str]
    health: str | None = None


_Key = Callable[[Outline], tuple[Any, ...]]
#: Word of `sort` → what it orders by. The id at the end makes each place one container's.
SORTS: Mapping[str, _Key] = {
    "created": lambda one: (one.created_at, one.id),
    "name": lambda one: (one.name, one.id),
    "state": lambda one: (one.state, one.name, one.id),
    "image": lambda one: (one.image, one.name, one.id),
}


def select(outlines: Iterable[Outline], wanted: Filter) -> Sequence[str]:
    """The ids that the filter lets through, in its order.

    Raises:
        ContainerNotFound: there is none of the id `after`.
    """
    key, backwards = SORTS[wanted.sort.removeprefix("-")], wanted.sort.startswith("-")
    ordered = sorted(outlines, key=key, reverse=backwards)
    if wanted.after is not None:
        ordered = ordered[_place(ordered, wanted.after) + 1 :]
    lets_through = _tests(wanted)
    found = [one.id for one in ordered if all(test(one) for test in lets_through)]
    return found if wanted.limit is None else found[: wanted.limit]


def labels_match(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Whether each of these, `key` or `key=value`, is among them."""
    return all(
        key in labels and (not equals or labels[key] == value)
        for key, equals, value in (one.partition("=") for one in wanted)
    )


def name_fault(pattern: str) -> str | None:
    """What is wrong with a regular expression for names, if anything is.

    One that would be tried in millions of ways on one name holds up the whole agent, which no
    deadline helps against; so there is a limit to what it may leave open.
    """
    if "(?" in pattern:
        return "must be a plain regular expression, without (?"
    if re.search(r"\)[*+?{]", pattern):
        return "must not repeat a group"
    if len(_CHOICES.findall(pattern)) > _CHOICES_MAX:
        return f"must have at most {_CHOICES_MAX} of * + ? {{ and ("
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no regular expression: {error}"
    return None


def sort_fault(word: str) -> str | None:
    if word.removeprefix("-") in SORTS:
        return None
    return f"must be one of {', '.join(SORTS)}, or one of them with - before it"


def image_fault(text: str) -> str | None:
    if _DIGEST.fullmatch(text):
        return None
    try:
        canonical(text)
    except ValueError as error:
        return str(error)
    return None


def _place(ordered: Sequence[Outline], id: str) -> int:
    place = next((index for index, one in enumerate(ordered) if one.id == id), None)
    if place is None:
        raise ContainerNotFound(
            f"cannot list what comes after container {id}: there is none",
            field="after",
            object=id,
            hint="it was deleted meanwhile: begin anew",
        )
    return place


def _tests(wanted: Filter) -> Sequence[Callable[[Outline], bool]]:
    """One for each kind that is asked for."""
    patterns = [re.compile(one) for one in wanted.names]
    digests = tuple(one for one in wanted.images if _DIGEST.fullmatch(one))
    images = {canonical(one) for one in wanted.images if one not in digests}
    kinds: Sequence[tuple[bool, Callable[[Outline], bool]]] = (
        (bool(wanted.labels), lambda one: labels_match(one.labels, wanted.labels)),
        (bool(wanted.states), lambda one: one.state in wanted.states),
        (bool(patterns), lambda one: any(pattern.search(one.name) for pattern in patterns)),
        (bool(wanted.ids), lambda one: one.id.startswith(wanted.ids)),
        (
            bool(wanted.images),
            lambda one: one.image in images or (one.digest or "").startswith(digests or ("-",)),
        ),
        (bool(wanted.health), lambda one: (one.health or "none") in wanted.health),
    )
    return [test for is_asked, test in kinds if is_asked]
