"""Which limits this node can set, and why not the others: one table for refusals and for status."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from longshore.errors import InvalidSpec
from longshore.host.block_devices import any_weighs, disk_number
from longshore.host.cgroup import Cgroups
from longshore.model.limits import Limits
from longshore.model.spec import ContainerSpec

_HUGE = "kernel/mm/hugepages"
_SHM = "/dev/shm"  # noqa: S108 - a mount's target in the container


@dataclass(frozen=True)
class Ground:
    """`oom_score_min`: the least that containerd can give."""

    cgroups: Cgroups
    oom_score_min: int = -1000
    sys: Path = Path("/sys")


@dataclass(frozen=True)
class _Need:
    """`fields` of Limits work unless `lack` says why not; with `value`, only that value of it."""

    fields: tuple[str, ...]
    lack: Callable[[Ground], str | None]
    value: str | None = None

    def asked(self, limits: Limits) -> Iterator[str]:
        for field in self.fields:
            asked = getattr(limits, field)
            if asked not in (None, (), {}) and self.value in (None, asked):
                yield field

    @property
    def feature(self) -> str:
        names = " and ".join(f"limits.{field}" for field in self.fields)
        return f"{names} {self.value}" if self.value else names


def lacks(ground: Ground) -> Iterator[tuple[str, str]]:
    """What cannot be limited on this node, and why."""
    for need in _NEEDS:
        if (why := need.lack(ground)) is not None:
            yield need.feature, why
    if ground.oom_score_min > -1000:
        yield (
            f"limits.oom_score_adj below {ground.oom_score_min}",
            "containerd runs without CAP_SYS_RESOURCE",
        )


def check_limits(spec: ContainerSpec, ground: Ground) -> None:
    """Raises:
    InvalidSpec: with every limit that this node cannot set.
    """
    faults = [{"field": field, "why": why} for field, why in _faults(spec, ground)]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InvalidSpec(
            f"cannot create container {spec.name}: {faults[0]['field']}: {faults[0]['why']}{more}",
            field=faults[0]["field"],
            object=spec.name,
            hint="`longshore status` says which limits this node cannot set",
            details={"faults": faults},
        )


def _faults(spec: ContainerSpec, ground: Ground) -> Iterator[tuple[str, str]]:
    limits = spec.limits
    for need in _NEEDS:
        fields = tuple(need.asked(limits))
        if fields and (why := need.lack(ground)) is not None:
            yield from ((f"limits.{field}", why) for field in fields)
    for index, one in enumerate(limits.io):
        try:
            disk_number(one.device, ground.sys)
        except ValueError as error:
            yield f"limits.io[{index}].device", str(error)
    for size, limit in limits.hugepages.items():
        if (why := _no_pages(ground, size, limit)) is not None:
            yield f"limits.hugepages.{size}", why
    score = limits.oom_score_adj
    if score is not None and score < ground.oom_score_min:
        yield (
            "limits.oom_score_adj",
            f"asked {score}, and containerd, without CAP_SYS_RESOURCE, can give no less than "
            f"{ground.oom_score_min}",
        )
    if limits.shm_size is not None and any(mount.target == _SHM for mount in spec.mounts):
        yield "limits.shm_size", f"a mount of the spec takes the place of {_SHM}"


def _controller(*names: str) -> Callable[[Ground], str | None]:
    """Any of them will do: v1 and v2 have two names for one."""

    def lack(ground: Ground) -> str | None:
        if ground.cgroups.settable().isdisjoint(names):
            offered = "/".join(names)
            where = " to containers" if not ground.cgroups.controllers().isdisjoint(names) else ""
            return f"the kernel offers no cgroup controller {offered}{where}"
        return None

    return lack


def _swap(ground: Ground) -> str | None:
    if "memory" not in ground.cgroups.settable() or ground.cgroups.swap_accounting():
        return None
    return "swap is not accounted; boot the kernel with swapaccount=1"


def _weights(ground: Ground) -> str | None:
    if ground.cgroups.settable().isdisjoint(("blkio", "io")):
        return None
    if any_weighs(ground.sys) or ground.cgroups.weighs_io():
        return None
    return "no disk of this node has an I/O scheduler that knows weights, which is bfq"


def _kill_all(ground: Ground) -> str | None:
    if ground.cgroups.mode() == "v2":
        return None
    return "only cgroup v2 kills all processes of a container together"


def _wait(ground: Ground) -> str | None:
    if ground.cgroups.mode() != "v2":
        return None
    return "only cgroup v1 lets processes wait for memory"


def _no_pages(ground: Ground, size: str, limit: int) -> str | None:
    there = {_name(folder): folder for folder in (ground.sys / _HUGE).glob("hugepages-*")}
    if size not in there:
        known = ", ".join(sorted(there)) or "none"
        return f"this node has no huge pages of {size} (it has {known})"
    pools = ("nr_hugepages", "nr_overcommit_hugepages")
    if limit and not any(int((there[size] / pool).read_text()) for pool in pools):
        return f"this node has no huge pages of {size} set aside"
    return None


def _name(folder: Path) -> str:
    """`2MB` for hugepages-2048kB, as cgroup files have it."""
    amount, unit = int(folder.name.removeprefix("hugepages-").removesuffix("kB")), 0
    while amount >= 1024 and unit < 2:
        amount, unit = amount // 1024, unit + 1
    return f"{amount}{('KB', 'MB', 'GB')[unit]}"


_NEEDS: Sequence[_Need] = (
    _Need(("memory", "memory_swap", "memory_reservation", "oom_policy"), _controller("memory")),
    _Need(("cpus", "cpu_shares"), _controller("cpu")),
    _Need(("cpuset",), _controller("cpuset")),
    _Need(("pids",), _controller("pids")),
    _Need(("io", "io_weight"), _controller("blkio", "io")),
    _Need(("hugepages",), _controller("hugetlb")),
    _Need(("memory_swap",), _swap),
    _Need(("io_weight",), _weights),
    _Need(("oom_policy",), _kill_all, "kill"),
    _Need(("oom_policy",), _wait, "pause"),
)
