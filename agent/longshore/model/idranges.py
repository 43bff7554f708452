"""Which of the node's user and group numbers are for containers with a user namespace."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from longshore.errors import Exhausted
from longshore.model.capacity import USER_RANGES, Lack, missing
from longshore.model.host import Ids

#: All numbers that POSIX and Debian's policy know of, nobody (65534) included.
SIZE = 65536
#: Above what systemd gives to its containers, below what it keeps for foreign images (systemd's
#: docs/UIDS-GIDS.md), and far from what useradd writes into /etc/subuid.
FIRST, COUNT = 0x70000000, 4094


@dataclass(frozen=True)
class IdRanges:
    """`count` ranges of `SIZE` numbers each, from `first` on.

    >>> IdRanges(1000000, 2).choose([], last=None).outside(33)
    1000033
    """

    first: int = FIRST
    count: int = COUNT

    def choose(self, taken: Collection[int], last: int | None) -> Ids:
        """The next free range after the one that begins with `last`, round and round: a number
        stays unused for long after its container is gone.

        Args:
            taken: first numbers of those in use.

        Raises:
            Exhausted: there is none.
        """
        before = -1 if last is None else (last - self.first) // SIZE
        for step in range(1, self.count + 1):
            first = self.first + (before + step) % self.count * SIZE
            if first not in taken:
                return Ids(first, SIZE)
        field = "security.user_namespace"
        why = f"all {self.count} ranges of numbers of this node are taken"
        raise Exhausted(
            f"cannot give the container a user namespace: {why}",
            field=field,
            hint="its operator would have to raise [userns] count",
            details={
                **missing([Lack(USER_RANGES, "count", 1, 0)]),
                "faults": [{"field": field, "why": why}],
            },
        )
