"""The file of flavors: what it may say, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from longshore.errors import InvalidRequest
from longshore.host.flavors import load
from longshore.model.limits import IoLimit, Limits, Ulimit

SAMPLE = Path(__file__).parents[2] / "systemd" / "flavors.toml.sample"
MIB, GIB = 2**20, 2**30


def written(folder: Path, text: str) -> Path:
    file = folder / "flavors.toml"
    file.write_text(text)
    return file


def test_the_sample_has_the_three_families() -> None:
    flavors = load(SAMPLE, "general-small").by_name
    assert {name.partition("-")[0] for name in flavors} == {"performance", "general", "compute"}
    assert flavors["general-small"].limits == Limits(cpus=0.5, memory=512 * MIB, pids=512)
    memory_a_core = {
        name: (one.limits.memory or 0) / (one.limits.cpus or 0) for name, one in flavors.items()
    }
    assert memory_a_core["compute-large"] < memory_a_core["general-large"]
    assert memory_a_core["general-large"] < memory_a_core["performance-large"]
    assert all(one.description for one in flavors.values())


def test_sizes_are_numbers_or_text(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        [flavor.all]
        limits.cpu_shares = 2
        limits.shm_size = "64m"
        limits.disk = "10g"
        limits.hugepages = { 2MB = "4m" }
        limits.ulimits = [{ name = "nofile", soft = 1024, hard = 4096 }]
        limits.io = [{ device = "/dev/vda", read_bps = "10m", write_iops = 100 }]
        [flavor.bare]
        """,
    )
    flavors = load(file).by_name
    assert flavors["bare"].limits == Limits()
    assert flavors["all"].limits == Limits(
        cpu_shares=2,
        shm_size=64 * MIB,
        disk=10 * GIB,
        hugepages={"2MB": 4 * MIB},
        ulimits=(Ulimit(name="nofile", soft=1024, hard=4096),),
        io=(IoLimit(device="/dev/vda", read_bps=10 * MIB, write_iops=100),),
    )
    inline = """
        [flavor.x]
        limits = { memory = "1g", memory_swap = "1.5g", memory_reservation = 536870912 }
    """
    assert load(written(tmp_path, inline)).by_name["x"].limits == Limits(
        memory=GIB, memory_swap=3 * GIB // 2, memory_reservation=GIB // 2
    )


def test_a_file_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert load(tmp_path / "none").by_name == {}
    with pytest.raises(InvalidRequest, match=r"\[flavors\] default is small"):
        load(tmp_path / "none", "small")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[flavor.a]\nlimits.memory = '12q'", "flavor a: limits.memory: '12q' is no size"),
        ("[flavor.a]\nlimits.memory = 5", "flavor a: limits.memory: must be at least"),
        ("[flavor.a]\nlimits.cores = 5", "flavor a: limits.cores: no such field"),
        ("[flavor.a]\nlimits.cpus = '1'", "flavor a: limits.cpus: must be a number of cores"),
        ("[flavor.a]\nlimits.cpus = nan", "flavor a: limits.cpus: "),
        ("[flavor.a]\nlimits.cpus = 1979-05-27", "flavor a: limits.cpus: "),
        ("[flavor.a]\nmemory = '1g'", "flavor a: memory: no such field"),
        ("[flavor.a]\nname = 'b'", "flavor a: name: it has one in its"),
        ("[flavor.'a b']", "flavor a b: name: must be 1 to 63 of"),
        ("[flavor.a]\nlimits = 3", "flavor a: limits: must be an object"),
        ("[flavor.a]\nlimits.memory_swap = '1g'", "flavor a: limits.memory_swap: needs memory"),
        ("[flavor.a]\nlimits.hugepages.2MB = 'x'", "flavor a: limits.hugepages.2MB: 'x' is no"),
        ("[flavor.a]\nlimits.io = [{device='/dev/a', read_bps='x'}]", "limits.io[0].read_bps: 'x'"),
        ("[flavor]\na = 1", "flavor a: must be a table"),
        ("flavor = 1", "flavors are [flavor.NAME]"),
        ("[flavour.a]", "flavour: no such table"),
        ("[flavor.a", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(InvalidRequest) as caught:
        load(file)
    assert str(caught.value).startswith(f"cannot use the configuration: {file}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, "[flavor.a]\nlimits.pids = 0\nx = 1\n[flavor.b]\nlimits.disk = 1")
    with pytest.raises(InvalidRequest) as caught:
        load(file)
    for part in ("flavor a: limits.pids", "flavor a: x", "flavor b: limits.disk"):
        assert part in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "latin").write_bytes(b"[flavor.a]\ndescription = '\xe4'")
    with pytest.raises(InvalidRequest, match="is not TOML"):
        load(tmp_path / "latin")
