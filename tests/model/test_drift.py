"""Limits asked for against limits read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from longshore.model.drift import (
    blkio_of_weight,
    differences,
    drifted,
    fitted_weight,
    io_weight_of,
    linear_weight,
    lost,
    shares_of_weight,
)
from longshore.model.host import AppliedLimits
from longshore.model.limits import IoLimit, Limits, Ulimit
from longshore.model.values import MIB

ASKED = Limits(
    memory=256 * MIB, memory_swap=512 * MIB, cpus=1.5, cpu_shares=512, cpuset="0-1", pids=100
)
EXACT = AppliedLimits(
    memory=256 * MIB, memory_swap=512 * MIB, cpus=1.5, cpu_shares=512, cpuset="0-1", pids=100
)


def test_all_applied() -> None:
    assert differences(ASKED, EXACT) == ()


def test_nothing_asked_is_never_different() -> None:
    assert differences(Limits(), AppliedLimits()) == ()
    assert differences(Limits(), EXACT) == ()


def test_every_limit_that_is_missing_is_named_once() -> None:
    found = differences(ASKED, AppliedLimits())
    assert [line.split(":")[0] for line in found] == [
        f"limits.{name}"
        for name in ("memory", "memory_swap", "cpus", "cpu_shares", "cpuset", "pids")
    ]
    assert all(line.endswith("the kernel has no limit") for line in found)


def test_the_sentence() -> None:
    found = differences(Limits(memory=268435456), AppliedLimits(memory=134217728))
    assert found == ("limits.memory: asked 268435456, the kernel has 134217728",)
    found = differences(Limits(cpus=1.5), AppliedLimits(cpus=2.0))
    assert found == ("limits.cpus: asked 1.5, the kernel has 2",)


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        (Limits(memory=100_000_001), AppliedLimits(memory=100_000_001 // 4096 * 4096)),
        (Limits(memory=100_000_001), AppliedLimits(memory=100_000_001 // 65536 * 65536)),
        (Limits(cpus=0.015), AppliedLimits(cpus=0.02)),
        (Limits(cpus=1 / 3), AppliedLimits(cpus=33333 / 100000)),
        (Limits(cpus=0.1), AppliedLimits(cpus=0.1)),
        (Limits(cpuset="0-3,5"), AppliedLimits(cpuset="0,1-3,5")),
    ],
)
def test_what_kernels_and_systemd_round(asked: Limits, has: AppliedLimits) -> None:
    assert differences(asked, has) == ()


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        (Limits(memory=100_000_000), AppliedLimits(memory=100_000_000 - 65536)),
        (Limits(memory=100_000_000), AppliedLimits(memory=100_000_001)),
        (Limits(cpus=0.015), AppliedLimits(cpus=0.021)),
        (Limits(cpus=0.5), AppliedLimits(cpus=0.501)),
        (Limits(cpus=0.5), AppliedLimits(cpus=0.51)),
        (Limits(cpuset="0-3"), AppliedLimits(cpuset="0-2")),
        (Limits(pids=100), AppliedLimits(pids=101)),
        (Limits(cpu_shares=1024), AppliedLimits(cpu_shares=512)),
        (Limits(cpu_shares=2048), AppliedLimits(cpu_shares=1024)),
        (Limits(cpu_shares=300), AppliedLimits(cpu_shares=1024)),
    ],
)
def test_what_is_no_rounding(asked: Limits, has: AppliedLimits) -> None:
    assert len(differences(asked, has)) == 1


def test_weight_and_shares_are_inverse() -> None:
    assert all(linear_weight(shares_of_weight(weight)) == weight for weight in range(1, 10001))
    assert (shares_of_weight(1), shares_of_weight(10000)) == (2, 262144)


def test_fitted_weight_meets_the_ends_and_the_default() -> None:
    assert abs(fitted_weight(2) - 1) <= 1
    assert abs(fitted_weight(1024) - 100) <= 1
    assert abs(fitted_weight(262144) - 10000) <= 1


RICH = Limits(
    memory_reservation=MIB * 8,
    oom_policy="continue",
    oom_score_adj=5,
    shm_size=MIB,
    io_weight=300,
    disk=MIB,
    ulimits=(Ulimit(name="nofile", soft=10, hard=20), Ulimit(name="core", soft=0, hard=0)),
    io=(IoLimit(device="/dev/sda", read_bps=5, write_iops=6),),
    hugepages={"2MB": 0},
)
RICH_APPLIED = AppliedLimits(**{name: getattr(RICH, name) for name in RICH.model_fields_set})


def test_a_disk_that_is_gone_is_told_once_and_is_no_drift() -> None:
    without = replace(RICH_APPLIED, io=(), gone=("/dev/sda",))
    sentence = "limits.io[0].device: the disk of /dev/sda is gone"
    assert differences(RICH, without) == (sentence,)
    assert drifted(RICH, without) == ()
    for before in (None, RICH_APPLIED):
        assert lost(RICH, without, before) == (sentence,)
    assert lost(RICH, without, without) == ()


def test_the_sentences_of_what_there_is_many_of() -> None:
    assert differences(RICH, RICH_APPLIED) == ()
    assert differences(RICH, AppliedLimits()) == (
        "limits.memory_reservation: asked 8388608, the kernel has no limit",
        "limits.oom_policy: asked continue, the kernel has no limit",
        "limits.oom_score_adj: asked 5, the kernel has no limit",
        "limits.shm_size: asked 1048576, the kernel has no limit",
        "limits.io_weight: asked 300, the kernel has no limit",
        "limits.disk: asked 1048576, the kernel has no limit",
        "limits.ulimits[0]: asked nofile 10:20, the kernel has no limit",
        "limits.ulimits[1]: asked core 0:0, the kernel has no limit",
        "limits.io[0].read_bps: asked 5, the kernel has no limit",
        "limits.io[0].write_iops: asked 6, the kernel has no limit",
        "limits.hugepages.2MB: asked 0, the kernel has no limit",
    )


@pytest.mark.parametrize(
    ("has", "is_drift"),
    [
        ({"ulimits": (Ulimit(name="nofile", soft=20, hard=20), RICH.ulimits[1])}, False),
        ({"ulimits": (Ulimit(name="nofile", soft=1, hard=19), RICH.ulimits[1])}, False),
        ({"ulimits": (Ulimit(name="nofile", soft=10, hard=21), RICH.ulimits[1])}, True),
        ({"ulimits": RICH.ulimits[1:]}, True),
        ({"oom_score_adj": 6}, False),
        ({"oom_score_adj": 4}, True),
        ({"shm_size": 2 * MIB}, True),
    ],
)
def test_what_a_process_does_to_itself_is_no_drift(has: dict[str, Any], is_drift: bool) -> None:
    applied = replace(RICH_APPLIED, **has)
    assert len(differences(RICH, applied)) == 1
    assert bool(drifted(RICH, applied)) == is_drift


def test_block_io_weights_are_inverse() -> None:
    assert all(blkio_of_weight(io_weight_of(one)) == one for one in range(10, 1001))
    assert (io_weight_of(10), io_weight_of(1000)) == (1, 10000)
