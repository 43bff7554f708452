"""What an image's config says, honoured by crun and by runc; and what cannot be honoured."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.image import Config, base_layer, digest_of, json_of, layout_of, tar_of
from host.containerd.stepwise import SNAPSHOTTER, Node, spec_of, until
from longshore.errors import BadImage, CommandNotFound, LongshoreError, StartFailed
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.node import detect
from longshore.host.containerd.oci import oci_spec
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.data import Data
from longshore.model.host import Image, Runtime, TaskStatus
from longshore.model.layout import Layout
from longshore.model.linux import signal_number
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_SECRET = "of-the-node"


@dataclass(frozen=True)
class Raw(Config):
    """The config as it is written in the document."""

    document: Mapping[str, Any] = field(default_factory=dict)

    def oci(self) -> dict[str, Any]:
        return dict(self.document)


Build = Callable[..., Image]


@pytest.fixture(scope="session")
def build(images: Images, containerd: PrivateContainerd) -> Build:
    """Makes an image of busybox, more layers and a config; the same one is made once."""
    made: dict[str, Image] = {}

    def make(config: Mapping[str, Any], *more: bytes) -> Image:
        layers = [base_layer(), *more]
        # A name of its own for each: one that moved would leave the others to the collector.
        key = f"config:{digest_of(json_of([config, *map(digest_of, layers)]))[7:19]}"
        layout = layout_of(key, layers, Raw(document=config))
        if key not in made:
            path = containerd.folder / "config.tar"
            path.write_bytes(tar_of(layout.members()))
            made[key] = images.load(path)[0]
        return made[key]

    return make


@pytest.fixture
def data(node: Node) -> Data:
    return Data(node.layout, node.rootfs.folders)


def entry(name: str, kind: bytes, *, link: str = "", mode: int = 0o644, uid: int = 0) -> Any:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode, made.uid, made.gid = kind, link, mode, uid, uid
    return made


def layer(*members: tuple[tarfile.TarInfo, bytes] | tarfile.TarInfo) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return memory.getvalue()


Process = Callable[..., dict[str, Any]]


@pytest.fixture
def process(client: Client, build: Build, containerd: PrivateContainerd) -> Iterator[Process]:
    """What the OCI spec says of the process of a container of such an image."""
    rootfs = Rootfs(client, SNAPSHOTTER)
    layout = Layout(containerd.folder / "state", containerd.folder / "run")
    made: list[Names] = []

    def make(
        config: Mapping[str, Any], layers: Sequence[bytes] = (), **fields: Any
    ) -> dict[str, Any]:
        image = build(config, *layers)
        spec = spec_of(**{"command": [], **fields})
        names = Names(spec.id)
        made.append(names)
        rootfs.prepare(names, image)
        user = rootfs.user(names, spec.user or image.config.user)
        node = detect(Runtime("crun", "crun", False, ""))
        return dict(oci_spec(spec, names, image.config, user, layout, node)["process"])

    yield make
    for names in made:
        rootfs.remove(names)
        rootfs.release(names)


#: Image's config, fields of the spec, and what is run.
ARGUMENTS: Sequence[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"Cmd": ["a"]}, {}, ["a"]),
    ({"Entrypoint": ["a"]}, {}, ["a"]),
    ({"Entrypoint": ["a"], "Cmd": ["b"]}, {}, ["a", "b"]),
    ({"Entrypoint": ["a"], "Cmd": ["b"]}, {"command": ["c", "d"]}, ["a", "c", "d"]),
    ({"Entrypoint": ["a"], "Cmd": ["b"]}, {"entrypoint": ["e"]}, ["e"]),
    ({"Entrypoint": ["a"], "Cmd": ["b"]}, {"entrypoint": [], "command": ["f"]}, ["f"]),
    ({"Cmd": ["/bin/sh", "-c", "a $B"]}, {}, ["/bin/sh", "-c", "a $B"]),
    ({"Cmd": None, "Entrypoint": None, "Env": None, "Volumes": None}, {"command": ["g"]}, ["g"]),
]


@pytest.mark.parametrize(("config", "fields", "arguments"), ARGUMENTS)
def test_what_is_run(
    process: Process, config: dict[str, Any], fields: dict[str, Any], arguments: list[str]
) -> None:
    assert process(config, **fields)["args"] == arguments


#: Image's config, fields of the spec, environment, working folder, and (uid, gid, more groups).
SURROUNDINGS: Sequence[
    tuple[dict[str, Any], dict[str, Any], dict[str, str], str, tuple[int, int, list[int]]]
] = [
    ({}, {}, {"PATH": PATH, "HOME": "/root", "HOSTNAME": "test"}, "/", (0, 0, [])),
    ({"Env": ["PATH=/bin", "A=1", "B=2", "EMPTY=", "BARE", "C=a=b"]}, {"env": {"B": "spec"}},
     {"PATH": "/bin", "A": "1", "B": "spec", "EMPTY": "", "BARE": "", "C": "a=b"},
     "/", (0, 0, [])),
    ({"WorkingDir": "/home/app"}, {}, {}, "/home/app", (0, 0, [])),
    ({"WorkingDir": "/home/app"}, {"workdir": "/tmp"}, {}, "/tmp", (0, 0, [])),
    ({"User": "app"}, {}, {"HOME": "/home/app"}, "/", (1000, 1000, [2000])),
    ({"User": "1000"}, {}, {"HOME": "/home/app"}, "/", (1000, 1000, [2000])),
    ({"User": "app:extra"}, {}, {"HOME": "/home/app"}, "/", (1000, 2000, [])),
    ({"User": "app:77"}, {}, {}, "/", (1000, 77, [])),
    ({"User": "4242"}, {}, {"HOME": "/"}, "/", (4242, 0, [])),
    ({"User": "4242:4343"}, {}, {}, "/", (4242, 4343, [])),
    ({"User": ":extra"}, {}, {"HOME": "/root"}, "/", (0, 2000, [])),
    ({"User": "app"}, {"user": "nobody"}, {}, "/", (65534, 65534, [])),
    ({"User": "app", "Env": ["HOME=/else"]}, {}, {"HOME": "/else"}, "/", (1000, 1000, [2000])),
]  # fmt: skip


@pytest.mark.parametrize(("config", "fields", "env", "cwd", "ids"), SURROUNDINGS)
def test_in_what_it_runs(
    process: Process,
    config: dict[str, Any],
    fields: dict[str, Any],
    env: dict[str, str],
    cwd: str,
    ids: tuple[int, int, list[int]],
) -> None:
    made = process({"Cmd": ["true"], **config}, **fields)
    has = dict(line.split("=", 1) for line in made["env"])
    assert {name: has.get(name) for name in env} == env
    assert made["cwd"] == cwd
    user = made["user"]
    assert (user["uid"], user["gid"], [g for g in user["additionalGids"] if user["uid"]]) == ids


#: Image's config, the error, its field, and words of its message.
UNUSABLE: Sequence[tuple[dict[str, Any], type[LongshoreError], str, str]] = [
    ({"WorkingDir": "srv"}, BadImage, "config.WorkingDir", "'srv' is no absolute path"),
    ({"Env": ["A=1", "=x"]}, BadImage, "config.Env[1]", "'=x' has no name"),
    ({"StopSignal": "SIGNONE"}, BadImage, "config.StopSignal", "'SIGNONE' is no signal"),
    ({"StopSignal": "0"}, BadImage, "config.StopSignal", "'0' is no signal"),
    ({"User": "nobody-here"}, StartFailed, "user", "not in the image's /etc/passwd"),
    ({"User": "app:nogroups"}, StartFailed, "user", "not in the image's /etc/group"),
    ({"User": "4294967295"}, StartFailed, "user", "above 2147483647"),
    ({"User": "-1"}, StartFailed, "user", "not in the image's /etc/passwd"),
    ({"User": "../../etc"}, StartFailed, "user", "not in the image's /etc/passwd"),
    ({"Cmd": ["a\0b"]}, BadImage, "config.Cmd", "holds what no text can"),
    ({"Env": ["A=\ud800"]}, BadImage, "config.Env", "holds what no text can"),
    ({"Labels": {"\ud800": ""}}, BadImage, "config.Labels", "holds what no text can"),
    ({"WorkingDir": "/\0"}, BadImage, "config.WorkingDir", "holds what no text can"),
]


@pytest.mark.parametrize(("config", "error", "field", "why"), UNUSABLE)
def test_what_says_nonsense(
    process: Process, config: dict[str, Any], error: type[LongshoreError], field: str, why: str
) -> None:
    with pytest.raises(error, match=why) as caught:
        process({"Cmd": ["true"], **config})
    assert caught.value.field == field


def test_what_the_spec_says_instead_may_be_nonsense_in_the_image(process: Process) -> None:
    config = {"WorkingDir": "srv", "StopSignal": "SIGNONE", "User": "none", "Cmd": ["true"]}
    made = process(config, workdir="/", stop_signal="SIGTERM", user="app")
    assert (made["cwd"], made["user"]["uid"]) == ("/", 1000)


def test_all_of_it_at_once(node: Node, build: Build) -> None:
    """As the container itself sees it; the working folder is made, and is root's."""
    script = 'echo "$0$@ $A"; pwd; stat -c "%u:%g %a" .; id -u; id -G'
    config = {
        "Entrypoint": ["/bin/sh", "-c", script, "zero"],
        "Cmd": ["one"],
        "Env": ["A=x y", "PATH=/bin"],
        "WorkingDir": "/made/for//me/",
        "User": "app:extra",
    }
    node = replace(node, image=build(config))
    for fields in ({}, {"security": {"read_only_rootfs": True}}):
        code, said, complaints = node.outcome(command=[], **fields)
        assert (code, complaints) == (0, "")
        assert said.splitlines() == ["zeroone x y", "/made/for/me", "0:0 755", "1000", "2000"]


#: Image's config, the error, its field, and words of its message: the runtimes' own.
UNRUNNABLE: Sequence[tuple[dict[str, Any], type[LongshoreError], str | None, str]] = [
    ({"Cmd": ["/not/there"]}, CommandNotFound, "command", "/not/there is not in the image"),
    ({"Cmd": ["/etc/passwd"]}, StartFailed, "command", "ermission denied"),
    ({"Cmd": ["true"], "WorkingDir": "/etc/passwd/x"}, StartFailed, None, "ot a directory"),
    ({"Cmd": ["true"], "WorkingDir": "/bin/sh"}, StartFailed, None, "ot a directory"),
]


@pytest.mark.parametrize(("config", "error", "field", "why"), UNRUNNABLE)
def test_what_cannot_run(
    node: Node,
    build: Build,
    config: dict[str, Any],
    error: type[LongshoreError],
    field: str | None,
    why: str,
) -> None:
    node = replace(node, image=build(config))
    with pytest.raises(error, match=why) as caught:
        node.run(command=[])
    assert caught.value.field == field
    assert "\n" not in caught.value.message


HUGE = b"".join(b"u%d:x:%d:%d::/:/bin/sh\n" % (i, i + 5000, i + 5000) for i in range(50_000))
#: What /etc/passwd is in the image, and the error; the node's own file has a user HOST_SECRET.
PASSWDS = {
    "absolute link": (entry("etc/passwd", tarfile.SYMTYPE, link="{secret}"), "not in the image's"),
    "link upwards": (
        entry("etc/passwd", tarfile.SYMTYPE, link="../../../../../..{secret}"),
        "not in the image's",
    ),
    "link to itself": (entry("etc/passwd", tarfile.SYMTYPE, link="passwd"), "symbolic links"),
    "fifo": (entry("etc/passwd", tarfile.FIFOTYPE), "not a regular file"),
    "device": (entry("etc/passwd", tarfile.CHRTYPE), "not a regular file"),
    "folder": (entry("etc/passwd", tarfile.DIRTYPE, mode=0o755), "directory"),
}


@pytest.mark.parametrize("kind", PASSWDS)
def test_a_passwd_that_is_none(process: Process, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "passwd"
    secret.write_text(f"{HOST_SECRET}:x:0:0::/:/bin/sh\n")
    made, why = PASSWDS[kind]
    made = made.replace(linkname=made.linkname.replace("{secret}", str(secret)), deep=False)
    if kind == "device":
        made.devmajor, made.devminor = 1, 5  # /dev/zero: read, it would never end
    gone = entry("etc/.wh.passwd", tarfile.REGTYPE)
    with pytest.raises(StartFailed, match=why) as caught:
        process({"User": HOST_SECRET}, layers=[layer(gone), layer(made)])
    assert caught.value.field == "user"


def test_a_passwd_behind_links_in_the_image_and_a_huge_one(process: Process) -> None:
    users = b"inside:x:1234:1::/home/in:/bin/sh\n" + HUGE
    layers = [
        layer(
            entry("etc/.wh.passwd", tarfile.REGTYPE),
            (entry("usr/lib/passwd", tarfile.REGTYPE), users),
        ),
        layer(entry("etc/passwd", tarfile.SYMTYPE, link="/usr/../usr/lib/passwd")),
    ]
    made = process({"User": "inside", "Cmd": ["true"]}, layers=layers)
    assert made["user"]["uid"] == 1234
    with pytest.raises(StartFailed, match="not in the image's"):
        process({"User": "u49999"}, layers=layers)


def test_the_stop_signal_is_the_one_that_is_meant(node: Node, build: Build) -> None:
    number = signal_number("RTMIN+3")
    trap = f"trap 'echo got; exit 7' {number}; echo ready; while :; do sleep 0.01; done"
    node = replace(node, image=build({"StopSignal": "RTMIN+3", "Cmd": ["sh", "-c", trap]}))
    assert node.image.config.stop_signal == "RTMIN+3"
    spec = node.run(command=[])
    until(lambda: "ready" in node.output(spec)[0])
    node.tasks.kill(Names(spec.id), number)
    assert node.ended(spec) == 7
    assert node.output(spec)[0] == "ready\ngot\n"


def test_what_is_stored_and_shown(images: Images, build: Build) -> None:
    health = {"Test": ["CMD-SHELL", "true"], "Interval": 30_000_000_000, "Retries": 3}
    config = build(
        {
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8080": {}},
            "Volumes": {"/data/sub/": {}, "/data": {}},
            "Labels": {"a": "1", "empty": ""},
            "Healthcheck": health,
        }
    ).config
    assert config.exposed_ports == ("53/udp", "80/tcp", "8080/tcp")
    assert config.volumes == ("/data", "/data/sub")
    assert config.labels == {"a": "1", "empty": ""}
    assert config.healthcheck == health


VOLUMES = {
    "Volumes": {"/data": {}, "/data/deep/er": {}, "/none": {}, "/covered/by": {}, "/link/x": {}},
    "User": "app",
}
CONTENT = (
    entry("data", tarfile.DIRTYPE, mode=0o750, uid=1000),
    (entry("data/mine", tarfile.REGTYPE, uid=1000), b"from the image\n"),
    entry("data/deep", tarfile.DIRTYPE, mode=0o755, uid=1000),
    (entry("covered/by/file", tarfile.REGTYPE), b""),
    entry("link", tarfile.SYMTYPE, link="/behind"),
    (entry("behind/x/there", tarfile.REGTYPE), b"x"),
)


def run_with_data(node: Node, data: Data, **fields: Any) -> ContainerSpec:
    spec = node.make(**fields)
    data.fill(Names(spec.id), node.image, spec.mounts)
    node.create(spec)
    node.tasks.start(Names(spec.id))
    return spec


def test_anonymous_volumes(node: Node, build: Build, data: Data) -> None:
    node = replace(node, image=build(VOLUMES, layer(*CONTENT)))
    script = """
    cat /data/mine; stat -c '%u:%g %a' /data /none; echo more >> /data/mine; touch /data/deep/er/x
    ls /covered/by | wc -l; ls /behind/x; touch /bin/x 2>/dev/null || echo fixed
    grep -c -E ' (/data|/data/deep/er|/none|/behind/x) ' /proc/self/mounts
    """
    spec = run_with_data(
        node,
        data,
        mounts=[{"type": "tmpfs", "target": "/covered", "size": 65536}],
        security={"read_only_rootfs": True, "cap_add": ["DAC_OVERRIDE"]},
        user="root",
        command=["sh", "-c", script],
    )
    names = Names(spec.id)
    until(lambda: node.tasks.get(names).status is TaskStatus.STOPPED)
    said, complaints = node.output(spec)
    assert complaints == "ls: /covered/by: No such file or directory\n"
    assert said.split("\n")[:-1] == [
        "from the image", "1000:1000 750", "0:0 755", "0", "there", "fixed", "4",
    ]  # fmt: skip

    node.tasks.delete(names)
    data.fill(names, node.image, spec.mounts)
    node.create(spec)
    again, _ = node.finish(spec)
    assert again.startswith(said + "from the image\nmore\n"), "it outlives a stop"
    assert data.owned() == {spec.id}
    data.remove(names)
    assert data.owned() == set()


def test_a_volume_over_a_file(node: Node, build: Build, data: Data) -> None:
    node = replace(node, image=build({"Volumes": {"/etc/passwd": {}}}))
    spec = node.make()
    with pytest.raises(BadImage, match="has a file there") as caught:
        data.fill(Names(spec.id), node.image, spec.mounts)
    assert caught.value.field == "config.Volumes"
    node.remove(spec)
    data.remove(Names(spec.id))


def test_a_volume_that_holds_the_nodes_files(node: Node, build: Build, data: Data) -> None:
    node = replace(node, image=build({"Volumes": {"/etc": {}}}))
    names_file = "longshore"
    spec = node.make(command=["sh", "-c", "cat /etc/hostname; touch /etc/written; id -un"])
    names = Names(spec.id)
    (node.layout.shown(names) / "hostname").write_text(names_file)
    data.fill(names, node.image, spec.mounts)
    node.create(spec)
    assert node.finish(spec) == (names_file + "root\n", "")
    assert (node.layout.data(names, 0) / "written").exists()
    data.remove(names)
