"""A range of the node's user and group numbers for each container with a user namespace."""

from __future__ import annotations

from longshore.lifecycle.ports import Transaction
from longshore.model.host import Ids
from longshore.model.idranges import IdRanges
from longshore.model.spec import ContainerSpec

#: The claims, by the first number of each range; and the one handed out last.
KIND, _LAST = "user ids", "last user ids"


def claim_ids(
    tx: Transaction, spec: ContainerSpec, ranges: IdRanges, has: Ids | None = None
) -> Ids | None:
    """A range that no other container has, given back with its other claims; None: it asks for no
    user namespace. `has`: the one that it had until now, and keeps.

    Raises:
        Exhausted: there is none left.
    """
    if not spec.security.user_namespace:
        return None
    if has is not None:
        hold_ids(tx, has, spec.id)
        return has
    last = tx.recall(_LAST)
    taken = {int(key) for key in tx.claims(KIND)}
    ids = ranges.choose(taken, int(last) if last else None)
    tx.claim(KIND, str(ids.first), spec.id)
    tx.remember(_LAST, str(ids.first))
    return ids


def hold_ids(tx: Transaction, ids: Ids | None, id: str) -> None:
    """Claims the range that the container has already."""
    if ids is not None:
        tx.claim(KIND, str(ids.first), id)
