"""Secrets: encrypted where they are kept, in memory alone where they are read."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from longshore.errors import Exhausted, HostFailed, InvalidSpec, PolicyForbids, SecretNotFound
from longshore.host.mountinfo import mount_points
from longshore.host.sealing import Sealing
from longshore.host.secrets import Secrets
from longshore.model.host import Ids
from longshore.model.injected import SECRET_MAX, Secret
from longshore.model.layout import Layout
from longshore.model.names import Names

VALUE = "correct horse battery staple"


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    one = Layout(tmp_path / "state", tmp_path / "run")
    one.state_dir.mkdir()
    yield one
    if one.secrets.is_mount():
        subprocess.run(["umount", one.secrets], check=True)
        pytest.fail("a file system was left")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    one = tmp_path / "own"
    one.mkdir(0o700)
    (one / "token").write_bytes(b"\0\xff token")
    return one


@pytest.fixture
def secrets(layout: Layout, folder: Path) -> Secrets:
    return Secrets(layout, folder)


@pytest.fixture
def names() -> Names:
    return Names(str(uuid4()))


def secret(name: str, **fields: object) -> Secret:
    return Secret.model_validate({"name": name, **fields})


def bare(*asked: Secret) -> list[Secret]:
    """As the journal gives them back."""
    return [Secret.model_validate_json(one.model_dump_json()) for one in asked]


def nature(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def test_from_request_to_memory_and_gone(layout: Layout, secrets: Secrets, names: Names) -> None:
    asked = [
        secret("password", value=VALUE, mode=0o440, uid=5, gid=6),
        secret("key", value="AAEC", encoding="base64"),
        secret("token", reference="token"),
    ]
    secrets.check(asked)
    sealed = secrets.seal(names, asked)
    assert set(sealed) == {"password", "key"}
    secrets.write(names, bare(*asked), sealed, None)
    places = [layout.secret(names, index) for index in range(3)]
    assert [place.read_bytes() for place in places] == [
        VALUE.encode(),
        b"\0\1\2",
        b"\0\xff token",
    ]
    assert [nature(place) for place in places] == [(5, 6, 0o440), (0, 0, 0o400), (0, 0, 0o400)]
    assert nature(layout.secrets) == nature(places[0].parent) == (0, 0, 0o700)
    [mounted] = [one for one in mount_points() if one.path == layout.secrets]
    assert mounted.filesystem == "tmpfs"
    assert {"nosuid", "nodev", "noexec", "size=65536k"} <= mounted.options
    kernel = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    assert ("noswap" in mounted.options) == (kernel >= (6, 4))
    assert secrets.owned() == {names.id}
    kept = b"".join(path.read_bytes() for path in layout.state_dir.rglob("*") if path.is_file())
    assert VALUE.encode() not in kept
    for _ in range(2):
        secrets.remove(names)
    assert secrets.owned() == set()
    assert not layout.secrets.is_mount()


def test_nothing_is_made_for_containers_without(
    layout: Layout, secrets: Secrets, names: Names
) -> None:
    secrets.check([])
    secrets.write(names, [], secrets.seal(names, []), None)
    secrets.remove(names)
    assert secrets.owned() == set()
    assert list(layout.state_dir.iterdir()) == []
    assert not layout.run_dir.exists()


def test_another_agent_on_the_same_folders_goes_on(
    layout: Layout, secrets: Secrets, folder: Path, names: Names
) -> None:
    """The container runs: what it reads is not changed under it, though a source is gone."""
    asked = [secret("a", value=VALUE), secret("b", reference="token")]
    sealed = secrets.seal(names, asked)
    secrets.write(names, bare(*asked), sealed, None)
    inode = layout.secret(names, 0).stat().st_ino
    (folder / "token").unlink()
    other = Secrets(layout, folder)
    other.write(names, bare(*asked), sealed, None)
    assert layout.secret(names, 0).stat().st_ino == inode
    assert len([one for one in mount_points() if one.path == layout.secrets]) == 1
    other.remove(names)
    # The next start reads anew, as after a reboot: /run is empty, the key is there.
    with pytest.raises(SecretNotFound) as caught:
        other.write(names, bare(*asked), sealed, None)
    assert (caught.value.field, caught.value.object) == ("secrets[1].reference", "token")
    assert other.owned() == set()
    (folder / "token").write_text("new")
    other.write(names, bare(*asked), sealed, None)
    assert [layout.secret(names, i).read_text() for i in (0, 1)] == [VALUE, "new"]
    other.remove(names)


def test_with_a_user_namespace(layout: Layout, secrets: Secrets, names: Names) -> None:
    ids = Ids(300_000, 1000)
    asked = [secret("a", value=VALUE, uid=1, gid=2)]
    sealed = secrets.seal(names, asked)
    secrets.write(names, bare(*asked), sealed, ids)
    assert nature(layout.secret(names, 0)) == (300_001, 300_002, 0o400)
    secrets.remove(names)
    with pytest.raises(InvalidSpec) as caught:
        secrets.write(names, bare(secret("a", value=VALUE, uid=1000)), sealed, ids)
    assert caught.value.field == "secrets[0].uid"
    secrets.remove(names)


def test_references_that_lead_nowhere_or_out(
    secrets: Secrets, folder: Path, tmp_path: Path, names: Names
) -> None:
    (tmp_path / "shadow").write_text("root")
    (folder / "out").symlink_to(tmp_path / "shadow")
    (folder / "in").symlink_to("token")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "large").write_bytes(bytes(SECRET_MAX + 1))
    secrets.check([secret("a", reference="in")])
    for number, name in enumerate(("moon", "folder", "fifo")):
        with pytest.raises(SecretNotFound) as caught:
            secrets.check([*[secret("a", value="x")] * number, secret("a", reference=name)])
        assert caught.value.field == f"secrets[{number}].reference"
    with pytest.raises(PolicyForbids, match="leads out") as forbidden:
        secrets.check([secret("a", reference="out")])
    assert forbidden.value.details["rule"] == "secrets.folder"
    assert [one["field"] for one in forbidden.value.details["faults"]] == ["secrets[0].reference"]
    with pytest.raises(InvalidSpec, match="more than 65536 bytes") as large:
        secrets.check([secret("a", value="x"), secret("a", reference="large")])
    assert large.value.field == "secrets[1].reference"
    with pytest.raises(SecretNotFound, match="more than 65536 bytes"):
        secrets.write(names, [secret("a", reference="large")], {}, None)
    secrets.remove(names)
    with pytest.raises(SecretNotFound):
        Secrets(Layout(tmp_path / "state", tmp_path / "run"), tmp_path / "none").check(
            [secret("a", reference="token")]
        )


def test_more_than_the_node_gives_them(layout: Layout, folder: Path, names: Names) -> None:
    small = Secrets(layout, folder, size=2**16)
    asked = [secret(f"s{number}", value="x" * SECRET_MAX) for number in range(2)]
    with pytest.raises(Exhausted, match="No space left"):
        small.write(names, bare(*asked), small.seal(names, asked), None)
    assert small.owned() == {names.id}
    small.remove(names)


def test_many_come_and_go_at_once(layout: Layout, secrets: Secrets) -> None:
    """The file system goes with the last of them, and comes with the next."""

    def live(number: int) -> None:
        for _ in range(20):
            own = Names(str(uuid4()))
            asked = [secret("a", value=f"{VALUE} {number}")]
            secrets.write(own, asked, secrets.seal(own, asked), None)
            assert layout.secret(own, 0).read_text() == f"{VALUE} {number}"
            secrets.remove(own)

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(live, range(4))) == [None] * 4
    assert secrets.owned() == set()


def test_sealed_values_belong_to_one_container_and_name(tmp_path: Path) -> None:
    sealing = Sealing(tmp_path / "secret.key")
    sealed = sealing.seal("one/a", VALUE.encode())
    assert sealed != sealing.seal("one/a", VALUE.encode())
    assert nature(tmp_path / "secret.key") == (0, 0, 0o600)
    mark = sealing.mark(VALUE.encode())
    # Another agent, after a restart.
    again = Sealing(tmp_path / "secret.key")
    assert again.open("one/a", sealed) == VALUE.encode()
    assert again.mark(VALUE.encode()) == mark != again.mark(b"")
    assert Sealing(tmp_path / "third.key").mark(VALUE.encode()) != mark
    changed = ("B" if sealed[30] == "A" else "A").join((sealed[:30], sealed[31:]))
    for what, wrong in (("two/a", sealed), ("one/b", sealed), ("one/a", changed), ("one/a", "?")):
        with pytest.raises(HostFailed, match="not sealed under") as caught:
            again.open(what, wrong)
        assert VALUE not in str(caught.value.to_dict())
    Sealing(tmp_path / "other.key").seal("one/a", b"")
    with pytest.raises(HostFailed, match="not sealed under"):
        Sealing(tmp_path / "other.key").open("one/a", sealed)


def test_a_key_that_is_gone_or_no_key(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    with pytest.raises(HostFailed, match="No such file"):
        Sealing(file).open("one/a", "AAAA")
    assert not file.exists()
    file.write_bytes(b"short")
    for use in (lambda: Sealing(file).seal("a", b""), lambda: Sealing(file).open("a", "AAAA")):
        with pytest.raises(HostFailed, match="5 bytes, not 32"):
            use()
    assert file.read_bytes() == b"short"


def test_a_key_that_was_lost_is_not_replaced(tmp_path: Path) -> None:
    """Else what is sealed since would be lost when the old one comes back."""
    file = tmp_path / "secret.key"
    sealed = Sealing(file).seal("one/a", VALUE.encode())
    key = file.read_bytes()
    file.unlink()
    for use in (lambda: Sealing(file).seal("a", b""), lambda: Sealing(file).open("one/a", sealed)):
        with pytest.raises(HostFailed, match="it is gone") as caught:
            use()
        assert "from a backup" in str(caught.value.hint)
    file.write_bytes(key)
    assert Sealing(file).open("one/a", sealed) == VALUE.encode()


def test_what_may_be_swapped_is_told(layout: Layout, folder: Path, tmp_path: Path) -> None:
    headline = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    (tmp_path / "swaps").write_text(headline)
    secrets = Secrets(layout, folder, swaps=tmp_path / "swaps")
    layout.secrets.mkdir(parents=True)
    # As before Linux 6.4.
    subprocess.run(["mount", "-t", "tmpfs", "none", layout.secrets], check=True)
    try:
        assert secrets.findings() == [], "there is no swap"
        (tmp_path / "swaps").write_text(f"{headline}/dev/sda2 partition 1048572 0 -2\n")
        (told,) = secrets.findings()
        assert "may be written to this node's swap" in told
    finally:
        subprocess.run(["umount", layout.secrets], check=True)
    assert secrets.findings() == [], "there are no secrets"


def test_findings(layout: Layout, secrets: Secrets, folder: Path, names: Names) -> None:
    assert secrets.findings() == []
    secrets.seal(names, [secret("a", value=VALUE)])
    assert secrets.findings() == []
    layout.secret_key.chmod(0o640)
    folder.chmod(0o755)
    assert [line.split()[0] for line in secrets.findings()] == [
        str(layout.secret_key),
        str(folder),
    ]
