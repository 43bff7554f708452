"""Which of the limits asked for the kernel does not have, and what it may round."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from longshore.model.host import AppliedLimits
from longshore.model.limits import IoLimit, Limits, Ulimit, cpus_of

#: The largest page of any Linux; memory limits are rounded down to whole pages, a tmpfs up, and
#: quotas of disks to their blocks, which are no larger.
_PAGE = 65536
#: One microsecond of quota in the usual period of 100 ms.
_QUOTA_GRAIN = 1e-5
_SHARES_MIN, _SHARES_MAX = 2, 262144
_WEIGHT_MIN, _WEIGHT_MAX = 1, 10000
#: block I/O weight of the OCI spec, which is that of cgroup v1 and of the scheduler BFQ.
_BLKIO_MIN, _BLKIO_MAX = 10, 1000
_RATES = ("read_bps", "write_bps", "read_iops", "write_iops")

_Same = Callable[[Any, Any], bool]


def differences(wanted: Limits, applied: AppliedLimits) -> tuple[str, ...]:
    """One sentence for each limit that did not take effect; empty when all did.

    >>> differences(Limits(pids=100), AppliedLimits(pids=50))
    ('limits.pids: asked 100, the kernel has 50',)
    """
    return (*_gone(wanted, applied), *_found(wanted, applied, _SAME, _same_ulimit))


def drifted(wanted: Limits, applied: AppliedLimits) -> tuple[str, ...]:
    """As `differences`, for a container that runs.

    What a process may do to itself is no drift: it may move its soft limits, lower its hard ones
    (many raise the soft limit of open files), and offer itself to the out-of-memory killer. Nor is
    a disk that was pulled out: see `lost`.
    """
    return tuple(_found(wanted, applied, {**_SAME, **_NOT_LOOSER}, _no_looser_ulimit))


def lost(wanted: Limits, applied: AppliedLimits, before: AppliedLimits | None) -> tuple[str, ...]:
    """One sentence for each disk with limits that is gone, and was not before."""
    return tuple(_gone(wanted, applied, before.gone if before else ()))


def _gone(wanted: Limits, applied: AppliedLimits, before: Collection[str] = ()) -> Iterator[str]:
    for index, one in enumerate(wanted.io):
        if one.device in applied.gone and one.device not in before:
            yield f"limits.io[{index}].device: the disk of {one.device} is gone"


def _found(
    wanted: Limits, applied: AppliedLimits, same: Mapping[str, _Same], same_ulimit: _Same
) -> Iterator[str]:
    for name, alike in same.items():
        asked, has = getattr(wanted, name), getattr(applied, name)
        if asked is not None and (has is None or not alike(asked, has)):
            yield _sentence(name, _text(asked), _text(has))
    ulimits = {one.name: one for one in applied.ulimits}
    for index, limit in enumerate(wanted.ulimits):
        kept = ulimits.get(limit.name)
        if kept is None or not same_ulimit(limit, kept):
            yield _sentence(f"ulimits[{index}]", _ulimit(limit), _ulimit(kept))
    devices = {one.device: one for one in applied.io}
    for index, rates in enumerate(wanted.io):
        for rate in () if rates.device in applied.gone else _RATES:
            asked, has = getattr(rates, rate), _rate(devices.get(rates.device), rate)
            if asked is not None and asked != has:
                yield _sentence(f"io[{index}].{rate}", _text(asked), _text(has))
    for size, asked in wanted.hugepages.items():
        has = applied.hugepages.get(size)
        if asked != has:
            yield _sentence(f"hugepages.{size}", _text(asked), _text(has))


def shares_of_weight(weight: int) -> int:
    """cgroup v1 shares for a v2 weight: the inverse of the linear formula.

    Exact for `linear_weight`: `linear_weight(shares_of_weight(w)) == w` for every weight.
    """
    steps = (weight - _WEIGHT_MIN) * (_SHARES_MAX - _SHARES_MIN)
    return _SHARES_MIN + math.ceil(steps / (_WEIGHT_MAX - _WEIGHT_MIN))


def linear_weight(shares: int) -> int:
    """v2 weight for v1 shares as runc before 1.3.2 and crun before 1.23 have it."""
    steps = (shares - _SHARES_MIN) * (_WEIGHT_MAX - _WEIGHT_MIN)
    return _WEIGHT_MIN + steps // (_SHARES_MAX - _SHARES_MIN)


def fitted_weight(shares: int) -> int:
    """v2 weight as later runtimes have it: the defaults meet, 1024 shares are weight 100."""
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def io_weight_of(blkio: int) -> int:
    """v2 `io.weight` for a block I/O weight, as runc and crun have it where BFQ is not."""
    steps = (blkio - _BLKIO_MIN) * (_WEIGHT_MAX - _WEIGHT_MIN)
    return _WEIGHT_MIN + steps // (_BLKIO_MAX - _BLKIO_MIN)


def blkio_of_weight(weight: int) -> int:
    """The inverse: exact for every weight that `io_weight_of` makes."""
    steps = (weight - _WEIGHT_MIN) * (_BLKIO_MAX - _BLKIO_MIN)
    return _BLKIO_MIN + math.ceil(steps / (_WEIGHT_MAX - _WEIGHT_MIN))


def _same_memory(asked: int, has: int) -> bool:
    return asked - _PAGE < has <= asked


def _same_size(asked: int, has: int) -> bool:
    return asked <= has < asked + _PAGE


def _same_disk(asked: int, has: int) -> bool:
    return abs(asked - has) < _PAGE


def _same_cpus(asked: float, has: float) -> bool:
    """systemd keeps a quota in whole per cents, and the runtimes round up to them."""
    per_cents = math.ceil(asked * 100 - _QUOTA_GRAIN) / 100
    return any(abs(has - one) <= 2 * _QUOTA_GRAIN for one in (asked, per_cents))


def _same_cpuset(asked: str, has: str) -> bool:
    return cpus_of(asked) == cpus_of(has)


def _same(asked: object, has: object) -> bool:
    return asked == has


def _same_ulimit(asked: Ulimit, has: Ulimit) -> bool:
    return asked == has


def _no_looser_ulimit(asked: Ulimit, has: Ulimit) -> bool:
    return has.hard <= asked.hard


_SAME: Mapping[str, _Same] = {
    "memory": _same_memory,
    "memory_swap": _same_memory,
    "memory_reservation": _same_memory,
    "oom_policy": _same,
    "oom_score_adj": _same,
    "cpus": _same_cpus,
    "cpu_shares": _same,
    "cpuset": _same_cpuset,
    "pids": _same,
    "shm_size": _same_size,
    "io_weight": _same,
    "disk": _same_disk,
}
_NOT_LOOSER: Mapping[str, _Same] = {"oom_score_adj": lambda asked, has: has >= asked}


def _rate(limit: IoLimit | None, name: str) -> int | None:
    return getattr(limit, name) if limit else None


def _ulimit(limit: Ulimit | None) -> str:
    return f"{limit.name} {limit.soft}:{limit.hard}" if limit else "no limit"


def _sentence(field: str, asked: str, has: str) -> str:
    return f"limits.{field}: asked {asked}, the kernel has {has}"


def _text(value: float | str | None) -> str:
    return "no limit" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
