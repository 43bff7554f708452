"""A container's folder: logs that are never truncated, and its /etc files."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from longshore.errors import Exhausted, HostFailed, InvalidSpec, StartFailed
from longshore.host.etc import hosts
from longshore.host.files import Files
from longshore.host.resolv import resolv_conf
from longshore.model.host import Ids, Nic, User
from longshore.model.injected import File, KeyPair
from longshore.model.layout import Layout
from longshore.model.mounts import Tmpfs
from longshore.model.names import Names
from longshore.model.record import Facts
from longshore.model.spec import ContainerSpec, Dns

KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJnE0n5gP6vd2eZQ2dXcM3qG1SnRj0aRxT2u7f5Hc1o somebody@home"
)
NIC = Nic("default", "eth0", "02:00:00:00:00:01", "10.1.0.5", 16, "10.1.0.1")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state", tmp_path / "run")


@pytest.fixture
def names() -> Names:
    return Names(str(uuid4()))


@pytest.fixture
def files(layout: Layout, tmp_path: Path) -> Files:
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\nsearch example.test\n")
    return Files(layout, resolv_conf=tmp_path / "resolv.conf", upstream=())


def spec_of(names: Names, **fields: object) -> ContainerSpec:
    return ContainerSpec.model_validate({"id": names.id, "name": "web", "image": "x", **fields})


def texts(layout: Layout, names: Names) -> dict[str, str]:
    return {target: file.read_text() for target, file in layout.etc(names).items()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written(files: Files, layout: Layout, names: Names) -> None:
    files.write(names, spec_of(names, hostname="web.example.test"), Facts(nics=(NIC,)))
    assert texts(layout, names) == {
        "/etc/hostname": "web.example.test\n",
        "/etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        "10.1.0.5\tweb.example.test web\n",
        "/etc/resolv.conf": "nameserver 192.0.2.53\nsearch example.test\n",
    }
    assert {mode(file) for file in layout.etc(names).values()} == {0o644}
    assert (mode(layout.stdout(names)), mode(layout.stderr(names))) == (0o640, 0o640)
    assert files.owned() == {names.id}
    assert len(list(layout.folder(names).iterdir())) == 5


def test_name_stands_in_for_hostname_and_no_nic_resolves_it_still() -> None:
    assert hosts("web", []).splitlines()[-1] == "127.0.1.1\tweb"


def test_a_log_is_never_truncated(files: Files, layout: Layout, names: Names) -> None:
    files.write(names, spec_of(names), Facts(nics=(NIC,)))
    layout.stdout(names).write_text("said before\n")
    inode = layout.stdout(names).stat().st_ino
    files.write(names, spec_of(names), Facts(nics=(NIC,)))
    assert layout.stdout(names).read_text() == "said before\n"
    assert layout.stdout(names).stat().st_ino == inode


def test_only_what_changed_gets_a_new_inode(files: Files, layout: Layout, names: Names) -> None:
    """A running container holds the old one; a mounted file is replaced without trouble."""
    files.write(names, spec_of(names), Facts(nics=(NIC,)))
    etc = layout.etc(names)
    before = {target: file.stat().st_ino for target, file in etc.items()}
    held = etc["/etc/hosts"].open()
    files.write(names, spec_of(names, hostname="other"), Facts(nics=(NIC,)))
    after = {target: file.stat().st_ino for target, file in etc.items()}
    assert {target for target in etc if before[target] != after[target]} == {
        "/etc/hostname",
        "/etc/hosts",
    }
    with held:
        assert "web" in held.read()
    assert "other" in etc["/etc/hosts"].read_text()
    assert [path.name for path in layout.folder(names).iterdir() if path.name[0] == "."] == []


def test_what_a_crash_left_half_written_is_overwritten(
    files: Files, layout: Layout, names: Names
) -> None:
    layout.folder(names).mkdir(parents=True)
    (layout.folder(names) / ".hosts.new").write_text("half")
    files.write(names, spec_of(names), Facts())
    assert len(list(layout.folder(names).iterdir())) == 5


def test_remove(files: Files, layout: Layout, names: Names) -> None:
    files.remove(names)
    files.write(names, spec_of(names), Facts())
    (layout.folder(names) / "stdout.log.1").touch()
    files.remove(names)
    files.remove(names)
    assert files.owned() == set()
    assert list(layout.containers.iterdir()) == []


def test_remove_follows_no_link_and_no_mount(
    files: Files, layout: Layout, names: Names, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kept").touch()
    files.write(names, spec_of(names), Facts())
    (layout.folder(names) / "link").symlink_to(tmp_path / "data")
    foreign = layout.folder(names) / "mount"
    foreign.mkdir()
    subprocess.run(["mount", "--bind", str(tmp_path / "data"), str(foreign)], check=True)
    try:
        with pytest.raises(HostFailed, match="not empty"):
            files.remove(names)
    finally:
        subprocess.run(["umount", str(foreign)], check=True)
    assert (tmp_path / "data" / "kept").exists()


def test_a_full_disk(layout: Layout, names: Names, files: Files) -> None:
    layout.state_dir.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(layout.state_dir)], check=True
    )
    try:
        fill = layout.state_dir / "fill"
        dd = subprocess.run(["dd", "if=/dev/zero", f"of={fill}"], stderr=subprocess.DEVNULL)
        assert dd.returncode == 1
        with pytest.raises(Exhausted, match="No space left"):
            files.write(names, spec_of(names), Facts())
        files.remove(names)
        assert files.owned() == set()
    finally:
        subprocess.run(["umount", str(layout.state_dir)], check=True)


def test_owned_before_anything_was_written(files: Files) -> None:
    assert files.owned() == set()


def made_of(tmp_path: Path, *texts: str, **options: list[str]) -> str:
    paths = [tmp_path / f"resolv{index}" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return resolv_conf(paths, options.get("nameservers", []))


STUB = "# stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n"


def test_servers_that_no_container_reaches_are_dropped(tmp_path: Path) -> None:
    text = "nameserver 127.0.0.1\nnameserver 10.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\n"
    assert made_of(tmp_path, text) == "nameserver 10.0.0.1\n"


def test_a_stub_resolver_gives_way_to_its_upstream(tmp_path: Path) -> None:
    upstream = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch up.test\n"
    assert made_of(tmp_path, STUB, upstream) == upstream


def test_no_server_at_all_is_said_and_none_made_up(tmp_path: Path) -> None:
    text = made_of(tmp_path, STUB)
    assert text.startswith("# No name server")
    assert "nameserver" not in text
    assert "search lan\n" in text
    assert resolv_conf([tmp_path / "none"], []).startswith("# No name server")


def test_configured_servers_win(tmp_path: Path) -> None:
    assert made_of(tmp_path, STUB, nameservers=["192.0.2.1"]) == (
        "nameserver 192.0.2.1\nsearch lan\n"
    )


def test_odd_lines_are_ignored_and_the_last_search_wins(tmp_path: Path) -> None:
    text = "nameserver\n; x\n\nnameserver what\ndomain old\nsearch a\nsearch b c\noptions ndots:2\n"
    assert made_of(tmp_path, text + "nameserver 10.0.0.1\n") == (
        "nameserver 10.0.0.1\nsearch b c\noptions ndots:2\n"
    )


DNS = Dns(servers=("192.0.2.7",), search=("own.test",), options=("ndots:3",))


def test_what_a_request_asks_for_wins_and_the_rest_is_the_nodes(tmp_path: Path) -> None:
    text = "nameserver 10.0.0.1\nsearch node.test\noptions rotate\n"
    (tmp_path / "resolv").write_text(text)

    def made(asked: Dns) -> str:
        return resolv_conf([tmp_path / "resolv"], ["192.0.2.1"][:0], asked)

    assert made(Dns()) == text
    assert made(DNS) == "nameserver 192.0.2.7\nsearch own.test\noptions ndots:3\n"
    assert made(Dns(servers=("192.0.2.7",))) == "nameserver 192.0.2.7\nsearch node.test\n"
    assert made(Dns(search=("own.test",))) == text.replace("node.test", "own.test")
    assert made(Dns(options=("ndots:3",))) == text.replace("rotate", "ndots:3")
    assert resolv_conf([tmp_path / "resolv"], ["192.0.2.1"], DNS) == made(DNS)


def test_on_the_nodes_own_network_its_own_resolver_answers(tmp_path: Path) -> None:
    (tmp_path / "stub").write_text(STUB)
    text = resolv_conf([tmp_path / "stub"], [], on_node=True)
    assert text == "nameserver 127.0.0.53\nsearch lan\noptions edns0 trust-ad\n"


def test_full_and_short_name_and_more_hosts() -> None:
    assert hosts("web", [NIC], "example.test", {"db": "10.9.9.9"}).splitlines()[2:] == [
        "10.1.0.5\tweb.example.test web",
        "10.9.9.9\tdb",
    ]
    assert hosts("a.b", [], "c").splitlines()[-1] == "127.0.1.1\ta.b.c a.b a"


GIVEN: dict[str, object] = {
    "files": (
        File(target="/etc/app.conf", content="port=1\n", mode=0o640, uid=7, gid=8),
        File(target="/bin/tool", content="AAEC", encoding="base64", mode=0o4755),
    ),
    "key_pair": KeyPair(name="home", public_keys=(KEY, KEY)),
    "timezone": "Europe/Berlin",
}


def given(layout: Layout, names: Names) -> dict[str, tuple[int, int, int, bytes]]:
    """Owner, mode and content of what came with the request."""
    paths = {"0": layout.file(names, 0), "1": layout.file(names, 1)}
    paths |= {"keys": layout.authorized_keys(names)} | layout.zone(names)
    return {
        name: (path.stat().st_uid, path.stat().st_gid, mode(path), path.read_bytes())
        for name, path in paths.items()
    }


@pytest.mark.parametrize("ids", [None, Ids(200_000, 65536)])
def test_what_came_with_the_request_is_written_once_and_exactly(
    layout: Layout, names: Names, tmp_path: Path, ids: Ids | None
) -> None:
    (tmp_path / "image" / "home" / "app").mkdir(parents=True)
    files = Files(layout, folders=lambda _: [str(tmp_path / "image")])
    spec = spec_of(names, **GIVEN)
    files.check(spec)
    facts = Facts(user=User(1000, 1000, home="/home/app"), ids=ids)
    files.write(names, spec, facts)
    first = 0 if ids is None else ids.first
    zone = Path("/usr/share/zoneinfo/Europe/Berlin").read_bytes()
    assert given(layout, names) == {
        "0": (first + 7, first + 8, 0o640, b"port=1\n"),
        "1": (first, first, 0o4755, b"\0\1\2"),
        "keys": (first + 1000, first + 1000, 0o600, f"{KEY}\n{KEY}\n".encode()),
        "/etc/localtime": (first, first, 0o644, zone),
        "/etc/timezone": (first, first, 0o644, b"Europe/Berlin\n"),
    }
    assert {path.stat().st_uid for path in layout.etc(names).values()} == {first}
    # The container has changed them, and the step is done again.
    layout.file(names, 0).write_text("port=2\n")
    layout.authorized_keys(names).write_text("none\n")
    inode = layout.file(names, 0).stat().st_ino
    files.write(names, spec, facts)
    assert layout.file(names, 0).read_text() == "port=2\n"
    assert layout.authorized_keys(names).read_text() == "none\n"
    assert layout.file(names, 0).stat().st_ino == inode
    files.remove(names)
    assert list(layout.containers.iterdir()) == []


def test_an_owner_that_the_user_namespace_has_not(files: Files, names: Names) -> None:
    spec = spec_of(names, files=(File(target="/x", content="", gid=70000),))
    with pytest.raises(InvalidSpec, match="no such number") as caught:
        files.write(names, spec, Facts(ids=Ids(200_000, 65536)))
    assert caught.value.field == "files[0].gid"


def test_public_keys_need_a_home(layout: Layout, names: Names, tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "file").touch()
    files = Files(layout, folders=lambda _: [str(tmp_path / "image")])
    spec = spec_of(names, key_pair=KeyPair(name="home", public_keys=(KEY,)))
    for home in ("/home/app", "/file"):
        with pytest.raises(StartFailed, match=f"no folder {home}") as caught:
            files.write(names, spec, Facts(user=User(1000, 1000, home=home)))
        assert caught.value.field == "key_pair"
    mounted = spec.model_copy(update={"mounts": (Tmpfs(target="/home", size=4096),)})
    files.write(names, mounted, Facts(user=User(1000, 1000, home="/home/app")))
    assert layout.authorized_keys(names).exists()


def test_time_zones_that_the_node_has_not(layout: Layout, names: Names, tmp_path: Path) -> None:
    zones = tmp_path / "zones"
    (zones / "Folder").mkdir(parents=True)
    (zones / "Real").write_bytes(b"TZif2")
    (zones / "Link").symlink_to("Real")
    (zones / "Out").symlink_to("../secret")
    (zones / "Text").write_text("no zone")
    (tmp_path / "secret").write_bytes(b"TZif2")
    files = Files(layout, zones=zones)
    for zone in ("Real", "Link"):
        files.check(spec_of(names, timezone=zone))
    for zone in ("Moon", "Folder", "Out", "Text", "Real/Moon"):
        with pytest.raises(InvalidSpec, match=f"no time zone {zone}: ") as caught:
            files.check(spec_of(names, timezone=zone))
        assert caught.value.field == "timezone"
    with pytest.raises(InvalidSpec, match="no time zone"):
        Files(layout, zones=tmp_path / "none").check(spec_of(names, timezone="UTC"))


def test_findings(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "stub").write_text(STUB)
    stub = tmp_path / "stub"
    assert len(Files(layout, stub, upstream=()).findings()) == 1
    assert Files(layout, stub, nameservers=["192.0.2.1"], upstream=()).findings() == []
    (tmp_path / "up").write_text("nameserver 10.0.0.1\n")
    assert Files(layout, stub, upstream=[tmp_path / "up"]).findings() == []
