"""Which platforms a node can run, and which fits best."""

from __future__ import annotations

import pytest

from longshore.model.platform import Platform, fit, of_node

V2 = {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}
V3 = V2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}

NODES: tuple[tuple[str, set[str], str], ...] = (
    ("x86_64", set(), "linux/amd64/v1"),
    ("x86_64", V2, "linux/amd64/v2"),
    ("x86_64", V3 | {"more"}, "linux/amd64/v3"),
    ("x86_64", V4, "linux/amd64/v4"),
    ("x86_64", V4 - {"ssse3"}, "linux/amd64/v1"),
    ("aarch64", set(), "linux/arm64/v8"),
    ("armv7l", set(), "linux/arm/v7"),
    ("armv6l", set(), "linux/arm/v6"),
    ("riscv64", set(), "linux/riscv64"),
    ("s390x", set(), "linux/s390x"),
)


@pytest.mark.parametrize(("machine", "flags", "name"), NODES)
def test_the_node(machine: str, flags: set[str], name: str) -> None:
    assert str(of_node(machine, flags)) == name


#: Node → what it runs, best first, and what it does not run.
FITS = {
    "linux/amd64/v3": (
        ["amd64/v3", "amd64/v2", "amd64"],
        ["amd64/v4", "amd64/v9", "arm64", "386", "s390x"],
    ),
    "linux/amd64/v1": (["amd64"], ["amd64/v2"]),
    "linux/arm64/v8": (["arm64"], ["arm/v7", "arm64/v9", "amd64"]),
    "linux/arm/v7": (["arm/v7", "arm/v6", "arm/v5"], ["arm/v8", "arm64"]),
    "linux/arm/v6": (["arm/v6", "arm/v5"], ["arm/v7", "arm"]),
    "linux/s390x": (["s390x"], ["s390x/z15", "ppc64le"]),
}


@pytest.mark.parametrize("node", FITS)
def test_what_fits(node: str) -> None:
    runs, refuses = FITS[node]
    here = Platform(*node.split("/"))
    found = [fit(Platform("linux", *one.split("/")), here) for one in runs]
    ranks = [rank for rank in found if rank is not None]
    assert len(ranks) == len(found)
    assert ranks == sorted(set(ranks), reverse=True)
    assert [
        one for one in refuses if fit(Platform("linux", *one.split("/")), here) is not None
    ] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("amd64", "x86_64"),
        ("amd64", "amd64/v1"),
        ("arm64", "arm64/v8"),
        ("arm64", "aarch64"),
        ("arm64", "arm64/8"),
        ("arm/v7", "arm"),
        ("arm/v7", "armhf"),
        ("arm/v6", "arm/6"),
    ],
)
def test_two_names_of_one_thing(one: str, other: str) -> None:
    for node in (of_node("x86_64", V4), of_node("aarch64"), of_node("armv7l")):
        ranks = [fit(Platform("linux", *name.split("/")), node) for name in (one, other)]
        assert ranks[0] == ranks[1]


def test_another_system() -> None:
    assert fit(Platform("windows", "amd64"), of_node("x86_64")) is None
    assert fit(Platform("", "amd64"), of_node("x86_64")) is None
