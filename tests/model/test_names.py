from __future__ import annotations

import pytest

from longshore.model.linux import effective_capabilities, signal_number
from longshore.model.names import Names, container_of_lease, is_container_id, is_veth

ID = "6a1d1b2e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"


def test_all_from_the_id_and_short_enough() -> None:
    names = Names(ID)
    assert container_of_lease(names.lease) == ID
    assert container_of_lease("somebody-else") is None
    assert is_veth(names.veth)
    assert len(names.veth) <= 15
    assert names.mac.startswith("02:")
    assert Names(ID) == names


@pytest.mark.parametrize("text", ["", "x", ID.upper(), ID.replace("-", ""), f"../{ID}", f"{ID}\n"])
def test_file_names_are_made_of_canonical_ids_only(text: str) -> None:
    assert is_container_id(ID)
    assert not is_container_id(text)


@pytest.mark.parametrize("name", ["eth0", "lshxyz", "lsh0123456789ab0", "lsh0123456789a"])
def test_interfaces_of_others(name: str) -> None:
    assert not is_veth(name)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", 15), ("TERM", 15), ("kill", 9), ("15", 15), ("SIGRTMIN+3", 37),
        ("SIGRTMIN", 34), ("RTMIN+15", 49), ("RTMAX-1", 63), ("SIGRTMAX", 64),
    ],
)  # fmt: skip
def test_signals(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize(
    "name",
    ["", "SIGWHAT", "0", "99", "9" * 5000, "²", "SIGRTMIN+x", "SIGRTMIN+16", "TERM+1", "_DFL"],
)
def test_no_signals(name: str) -> None:
    with pytest.raises(ValueError, match="no signal"):
        signal_number(name)


def test_capabilities() -> None:
    assert "CAP_CHOWN" in effective_capabilities((), ())
    assert "CAP_SYS_ADMIN" not in effective_capabilities((), ())
    assert effective_capabilities(("CHOWN",), ("ALL",)) == ("CAP_CHOWN",)
    assert "CAP_SYS_ADMIN" in effective_capabilities(("ALL",), ("CHOWN",))
    assert "CAP_CHOWN" not in effective_capabilities(("ALL",), ("CHOWN",))
    assert len(effective_capabilities((), (), privileged=True)) == 41
