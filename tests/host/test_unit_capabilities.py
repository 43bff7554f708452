"""With the capabilities that the unit leaves the agent, what images bring can be handled."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from longshore.host import idmap, namespaces
from longshore.host.containerd import mountpoints
from longshore.host.data import Data
from longshore.host.files import Files
from longshore.host.secrets import Secrets
from longshore.model.layout import Layout
from longshore.model.names import Names

UNIT = Path(__file__).resolve().parents[2] / "systemd" / "longshore-agent.service"
#: struct vfs_cap_data (linux/capability.h): version 2, effective; NET_BIND_SERVICE permitted.
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
#: Fills the volumes of an image and hides what was made to mount on, as the agent does.
SCRIPT = f"""
import json, sys
from pathlib import Path, PurePosixPath
from {mountpoints.__name__} import hide
from {Data.__module__} import Data
from longshore.errors import LongshoreError
from longshore.model.host import Image, ImageConfig
from longshore.model.layout import Layout
from longshore.model.names import Names

folder, id = Path(sys.argv[1]), sys.argv[2]
layer = str(folder / "layer")
image = Image("web:1", "sha256:00", "sha256:01", 1, 1.0, ImageConfig(volumes=("/db",)))
data = Data(Layout(folder / "state", folder / "run"), lambda names: [layer])
try:
    data.fill(Names(id), image, ())
    hide([PurePosixPath("etc/hosts")], layer, str(folder / "top"))
    print("null")
except LongshoreError as error:
    print(json.dumps(error.to_dict()))
"""
MAKE = """
mkdir -p db/sub etc; touch etc/hosts; echo one > db/one; mkfifo db/fifo; mknod db/device c 1 3
ln -s /etc/passwd db/link; cp /bin/busybox db/tool; cp /bin/busybox db/setgid
chown -R 7:8 db; chown -h 9:9 db/link; chmod 2755 db/setgid; chmod 1777 db/sub; chmod 000 db/one
"""


#: Makes a user namespace and what belongs to it, and shows files with its numbers: as the agent.
USERS = f"""
import json, os, sys
from pathlib import Path
from {namespaces.__name__} import (
    container_map, network_namespace_in, node_map, user_namespace
)
from {idmap.__name__} import hide, show
from longshore.errors import LongshoreError
from longshore.model.host import Ids

folder, ids = Path(sys.argv[1]), Ids(1_000_000_000, 65536)
source, target = folder / "layer", folder / "top"
try:
    with user_namespace(container_map(ids)) as users:
        show(source, target, users)
        shown = [os.stat(target / "etc").st_uid]
        hide(target)
        with network_namespace_in(users) as network:
            network.stat()
    os.chown(source, ids.outside(5), 0)
    target.mkdir()
    with user_namespace(node_map(ids)) as users:
        show(source, target, users)
        shown += [os.stat(target).st_uid]
        hide(target)
    print(json.dumps(shown))
except LongshoreError as error:
    print(json.dumps(error.to_dict()))
"""


#: What a request gives a container: files and secrets, both somebody else's.
GIVEN = f"""
import json, sys
from pathlib import Path
from {Files.__module__} import Files
from {Secrets.__module__} import Secrets
from longshore.errors import LongshoreError
from longshore.model.injected import File, Secret
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.record import Facts
from longshore.model.spec import parse

folder, names = Path(sys.argv[1]), Names(sys.argv[2])
given = {{"uid": 7, "gid": 8, "mode": 0o6755}}
spec = parse({{
    "id": names.id, "name": "web", "image": "x", "timezone": "UTC",
    "files": [{{"target": "/a", "content": "a", **given}}],
    "secrets": [{{"name": "a", "value": "a", **given}}],
}})
layout = Layout(folder / "state", folder / "run")
try:
    files = Files(layout)
    files.write(names, spec, Facts())
    files.show(names)
    secrets = Secrets(layout)
    secrets.write(names, spec.secrets, secrets.seal(names, spec.secrets), None)
    places = (layout.shown(names) / layout.file(names, 0).name, layout.secret(names, 0))
    found = [path.stat() for path in places]
    secrets.remove(names)
    files.unshow(names)
    print(json.dumps([[one.st_uid, one.st_gid, one.st_mode & 0o7777] for one in found]))
except LongshoreError as error:
    print(json.dumps(error.to_dict()))
"""


def _left() -> set[str]:
    """CapabilityBoundingSet, as setpriv names them."""
    lines = re.findall(r"(?m)^CapabilityBoundingSet=(.*)", UNIT.read_text())
    return {name.removeprefix("CAP_").lower() for line in lines for name in line.split()}


def _handled(folder: Path, names: Names, capabilities: set[str], script: str = SCRIPT) -> Any:
    bounds = ",".join(["-all", *(f"+{one}" for one in sorted(capabilities))])
    done = subprocess.run(
        ["setpriv", "--no-new-privs", f"--bounding-set={bounds}", "--inh-caps=-all",
         sys.executable, "-c", script, folder, names.id],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    layer = tmp_path / "layer"
    layer.mkdir()
    (tmp_path / "top").mkdir()
    subprocess.run(["sh", "-ec", MAKE], cwd=layer, check=True)
    with socket.socket(socket.AF_UNIX) as bound:
        folder = os.open(layer / "db", os.O_PATH)
        bound.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
    os.setxattr(layer / "db/tool", "security.capability", CAPABILITY)
    os.setxattr(layer / "db/sub", "trusted.mark", b"1")
    return layer


def test_a_volume_and_a_whiteout(tmp_path: Path, layer: Path) -> None:
    names = Names(str(uuid4()))
    assert _handled(tmp_path, names, _left()) is None
    filled = Layout(tmp_path / "state", tmp_path / "run").data(names, 0)
    (layer / "db/device").unlink()

    def nature(folder: Path) -> dict[str, tuple[int, ...]]:
        return {
            name: (there.st_mode, there.st_uid, there.st_gid)
            for name in os.listdir(folder)
            for there in [(folder / name).lstat()]
        }

    assert nature(filled) == nature(layer / "db")
    assert os.getxattr(filled / "tool", "security.capability") == CAPABILITY
    assert os.getxattr(filled / "sub", "trusted.mark") == b"1"
    hidden = (tmp_path / "top/etc/hosts").lstat()
    assert stat.S_ISCHR(hidden.st_mode)
    assert hidden.st_rdev == 0


def test_who_may_not_set_capabilities_says_so(tmp_path: Path, layer: Path) -> None:
    names = Names(str(uuid4()))
    failure = _handled(tmp_path, names, _left() - {"setfcap"})
    assert failure["code"] == "host_failed"
    assert failure["message"] == (
        f"cannot make volume /db of {names.id}: the agent may not give a file the capabilities "
        "that it has in the image (tool)"
    )
    assert "CAP_SETFCAP" in failure["hint"]


@pytest.mark.parametrize("one", ["chown", "fowner", "fsetid", "setfcap"])
def test_none_of_them_is_too_many(tmp_path: Path, layer: Path, one: str) -> None:
    """Each that the unit says it needs for this is needed."""
    names = Names(str(uuid4()))
    failure = _handled(tmp_path, names, _left() - {one})
    filled = Layout(tmp_path / "state", tmp_path / "run").data(names, 0)
    assert failure or stat.S_IMODE((filled / "setgid").stat().st_mode) != 0o2755


def test_files_and_secrets(tmp_path: Path) -> None:
    given = [7, 8, 0o6755]
    assert _handled(tmp_path, Names(str(uuid4())), _left(), GIVEN) == [given, given]


@pytest.mark.parametrize("one", ["chown", "fowner", "fsetid"])
def test_none_of_those_for_files_is_too_many(tmp_path: Path, one: str) -> None:
    found = _handled(tmp_path, Names(str(uuid4())), _left() - {one}, GIVEN)
    assert found != [[7, 8, 0o6755]] * 2


def test_user_namespaces(tmp_path: Path, layer: Path) -> None:
    names = Names(str(uuid4()))
    assert _handled(tmp_path, names, _left(), USERS) == [1_000_000_000, 5]


@pytest.mark.parametrize("one", ["setuid", "setgid", "setfcap"])
def test_none_of_those_for_user_namespaces_is_too_many(
    tmp_path: Path, layer: Path, one: str
) -> None:
    failure = _handled(tmp_path, Names(str(uuid4())), _left() - {one}, USERS)
    assert failure["code"] == "host_unavailable"
    assert failure["message"] == (
        "cannot map the users of a user namespace: Operation not permitted"
    )
