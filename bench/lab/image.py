"""Images for the lab: OCI-layout archives made of Debian's busybox-static.

    busybox_archive(path)                                       busybox:latest
    busybox_archive(path, 'web:1', config=Config(command=…))    another configuration
    busybox_archive(path, files={'/etc/motd': b'hi\\n'})         a second layer

damage.py makes archives that must be refused.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.lab.programs import programs_layer

BUSYBOX = Path("/bin/busybox")
#: What a container serves when nothing else is asked of it.
PAGE = b"Longshore: hello from a container\n"
_ETC = {
    "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"
    b"app:x:1000:1000:app:/home/app:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "/etc/group": b"root:x:0:\napp:x:1000:\nextra:x:2000:app\nnogroup:x:65534:\n",
    "/www/index.html": PAGE,
}
_FOLDERS = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "home/app": 0o755, "proc": 0o755,
    "root": 0o700, "sys": 0o755, "tmp": 0o1777, "var": 0o755, "www": 0o755,
}  # fmt: skip
_OWNERS = {"home/app": 1000}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Config:
    """The part of an OCI image config that tests vary."""

    command: tuple[str, ...] = ("httpd", "-f", "-p", "80", "-h", "/www")
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ("PATH=/bin",)
    workdir: str = "/"
    user: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    healthcheck: Mapping[str, Any] = field(default_factory=dict)

    def oci(self) -> dict[str, Any]:
        values = {
            "Cmd": list(self.command),
            "Entrypoint": list(self.entrypoint),
            "Env": list(self.env),
            "WorkingDir": self.workdir,
            "User": self.user,
            "StopSignal": self.stop_signal,
            "Labels": dict(self.labels),
            "Healthcheck": dict(self.healthcheck),
        }
        return {name: value for name, value in values.items() if value}


@dataclass
class Layout:
    """An OCI layout in memory: blobs by hex digest, and the descriptors in its index."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: list[dict[str, Any]] = field(default_factory=list)

    def add(self, media_type: str, content: bytes) -> dict[str, Any]:
        digest = digest_of(content)
        self.blobs[digest.removeprefix("sha256:")] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def members(self) -> dict[str, bytes]:
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": self.manifests}
        return {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json_of(index),
            **{f"blobs/sha256/{digest}": content for digest, content in self.blobs.items()},
        }


def busybox_archive(
    path: Path,
    name: str = "busybox:latest",
    *,
    config: Config | None = None,
    files: Mapping[str, bytes] | None = None,
    programs: Sequence[Path] = (),
    compress: bool = True,
) -> Path:
    """Writes the archive to `path` and returns it.

    Args:
        path: a file; replaced if there.
        name: the image's name, kept in the index's annotations.
        config: default command (serves PAGE on port 80), environment, user and so on.
        files: absolute path to content; a second layer holds them. `/x/.wh.y` removes `/x/y`.
        programs: of this host, with their libraries; another layer.
        compress: whether layers are gzip, else plain tar.
    """
    layers = [base_layer()]
    if programs:
        layers.append(programs_layer(programs))
    if files:
        layers.append(tar_of({name.lstrip("/"): content for name, content in files.items()}))
    path.write_bytes(tar_of(layout_of(name, layers, config, compress=compress).members()))
    return path


def layout_of(
    name: str,
    layers: Sequence[bytes],
    config: Config | None = None,
    *,
    diff_ids: Sequence[str] | None = None,
    compress: bool = True,
) -> Layout:
    """The layout of one image; `diff_ids` other than the layers' own make it a lie."""
    layout = Layout()
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    image = {
        "architecture": architecture,
        "os": "linux",
        "config": (config or Config()).oci(),
        "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest_of(one) for one in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": layout.add(_CONFIG, json_of(image)),
        "layers": [
            # mtime 0 and a low level: the same bytes, so the same digest, on every build.
            layout.add(_LAYER + "+gzip", gzip.compress(layer, 1, mtime=0))
            if compress
            else layout.add(_LAYER, layer)
            for layer in layers
        ],
    }
    descriptor = layout.add(_MANIFEST, json_of(manifest))
    descriptor["platform"] = {"architecture": architecture, "os": "linux"}
    descriptor["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    layout.manifests.append(descriptor)
    return layout


@cache
def base_layer() -> bytes:
    """Debian's busybox with a link per applet, and an /etc with users root, app and nobody."""
    if not BUSYBOX.exists():
        raise FileNotFoundError(f"cannot build an image: {BUSYBOX} is missing (busybox-static)")
    listed = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, timeout=10)
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder, mode in _FOLDERS.items():
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            entry.uid = entry.gid = _OWNERS.get(folder, 0)
            tar.addfile(entry)
        _add(tar, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for applet in sorted(set(listed.stdout.decode().split()) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, "busybox", 0o777
            tar.addfile(link)
        for name, content in _ETC.items():
            _add(tar, name.lstrip("/"), content)
    return memory.getvalue()


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def tar_of(members: Mapping[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            _add(tar, name, content)
    return memory.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def json_of(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
