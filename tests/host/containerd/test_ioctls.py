"""The numbers of ioctl that a seccomp filter lets through: all but those, whatever they are."""

from __future__ import annotations

import random

from longshore.host.containerd import seccomp
from longshore.host.containerd.ioctls import AROUND_QUOTA, all_but


def _met(number: int, numbers: frozenset[int]) -> int:
    """How many conditions it meets, as the kernel compares: the argument under a mask."""
    return sum(number & one["value"] == one["valueTwo"] for one in all_but(numbers))


def test_each_other_number_meets_one_condition() -> None:
    near = {one ^ 1 << bit for one in AROUND_QUOTA for bit in range(32)}
    for number in near | {0, 2**32 - 1, *(random.Random(1).choices(range(2**32), k=2000))}:
        assert _met(number, AROUND_QUOTA) == (number not in AROUND_QUOTA), hex(number)
    assert not any(_met(number, AROUND_QUOTA) for number in AROUND_QUOTA)


def test_none_and_all_of_them() -> None:
    assert all_but(()) == [{"index": 1, "value": 0, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    assert _met(0, frozenset({0})) == 0


def test_only_a_disk_limit_makes_ioctl_conditional() -> None:
    for disk_limit in (False, True):
        rules = seccomp.profile((), "x86_64", disk_limit=disk_limit)["syscalls"]
        of_ioctl = [one for one in rules if "ioctl" in one["names"]]
        assert all(("args" in one) is disk_limit for one in of_ioctl)
        assert len(of_ioctl) == (len(all_but(AROUND_QUOTA)) if disk_limit else 1)
