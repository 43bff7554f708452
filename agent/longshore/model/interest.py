"""Which changes somebody wants to hear of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.model.status import Change

#: Characters that the beginning of an id must have to stand for it.
_ENOUGH = 4
GAP = "gap"


@dataclass(frozen=True)
class Interest:
    """Empty: all.

    Args:
        refs: ids, names, or beginnings of ids; of containers that need not be there yet.
        kinds: of `Change.kind`.
    """

    refs: Sequence[str] = ()
    kinds: Sequence[str] = ()

    def has(self, change: Change) -> bool:
        """A gap is of interest to all: what is missing may have been."""
        if change.kind == GAP:
            return True
        return (not self.kinds or change.kind in self.kinds) and (
            not self.refs or any(_is(change, ref) for ref in self.refs)
        )


def _is(change: Change, ref: str) -> bool:
    return ref in (change.name, change.id) or (len(ref) >= _ENOUGH and change.id.startswith(ref))
