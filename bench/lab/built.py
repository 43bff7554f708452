"""Images that other people's tools make: buildah from a Dockerfile, skopeo, umoci.

    with Built(folder) as built:
        built.push(registry, 'oci-zstd', 'built:zstd')
        built.oci_archive('oci-gzip'), built.docker_archive()

Every form of FORMS is made once per folder, at its first use; building takes about a second.
"""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from bench.lab.image import BUSYBOX
from bench.lab.registry import PrivateRegistry, skopeo

#: What the Dockerfile says, for tests to compare with. HEALTHCHECK is in Docker's format only.
ENV = ("GREETING=hello world", "PATH=/bin")
ENTRYPOINT = ("/bin/sh", "-c")
CMD = ("echo $GREETING; exec sleep 3600",)
USER, WORKDIR, STOP_SIGNAL = "app", "/srv/work", "SIGINT"
VOLUME, VOLUME_FILE = "/srv/data", "/srv/data/file"
EXPOSED = ("53/udp", "80/tcp")
LABEL = ("org.example.role", "test")
#: Platforms of the multi-platform forms beside this machine's own.
OTHERS = ("linux/arm64/v8", "linux/arm/v7", "linux/arm/v6", "linux/s390x")

#: Two builds, as `--layers` would commit each instruction.
_BASE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir /gone && echo gone >/gone/file
"""
_DOCKERFILE = """\
FROM localhost/base
RUN mkdir -p /etc /srv/data \\
 && echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd \\
 && echo 'app:x:1000:1000:app:/home/app:/bin/sh' >>/etc/passwd \\
 && printf 'root:x:0:\\napp:x:1000:\\n' >/etc/group \\
 && echo kept >/srv/data/file && chown -R 1000:1000 /srv/data
RUN rm -r /gone
ENV GREETING="hello world" PATH=/bin
EXPOSE 80/tcp 53/udp
VOLUME /srv/data
LABEL org.example.role=test
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --timeout=2s --retries=2 CMD ["/bin/true"]
USER app
WORKDIR /srv/work
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["echo $GREETING; exec sleep 3600"]
"""
_OTHER = 'FROM scratch\nCOPY busybox /bin/busybox\nCMD ["/bin/busybox"]\n'


class Built:
    """The images of one folder, and buildah's storage in it. `close` removes that storage."""

    def __init__(self, folder: Path) -> None:
        self._home = folder.resolve() / "built"
        self._context = self._home / "context"
        self._forms = self._home / "forms"

    def form(self, name: str) -> Path:
        """The image in the form `name` of FORMS, in a folder that skopeo calls `dir:`."""
        made = self._forms / name
        if not made.exists():
            self._forms.mkdir(parents=True, exist_ok=True)
            new = self._forms / f"{name}-{uuid4()}"
            FORMS[name](self, new)
            new.rename(made)
        return made

    def push(self, registry: PrivateRegistry, form: str, name: str) -> str:
        """Copies the image to the registry as `name`, bit by bit; returns its digest."""
        digest = self._home / f"{uuid4()}.digest"
        skopeo("copy", "--all", "--preserve-digests", "--digestfile", digest,
               *registry.access("dest"), f"dir:{self.form(form)}",
               f"docker://{registry.host}/{name}")  # fmt: skip
        return digest.read_text().strip()

    def oci_archive(self, form: str, name: str = "built:latest") -> Path:
        """An OCI layout as a tar. Docker's media types become OCI's."""
        path = self._home / f"{form}-{_plain(name)}.oci.tar"
        if not path.exists():
            skopeo("copy", "--all", "--dest-oci-accept-uncompressed-layers",
                   f"dir:{self.form(form)}", f"oci-archive:{path}:{name}")  # fmt: skip
        return path

    def docker_archive(self, name: str = "built:latest") -> Path:
        """As `docker save` writes it."""
        path = self._home / f"{_plain(name)}.docker.tar"
        if not path.exists():
            skopeo("copy", f"dir:{self.form('docker-gzip')}", f"docker-archive:{path}:{name}")
        return path

    def document(self, form: str) -> bytes:
        """The form's outermost document: a manifest or an index."""
        return (self.form(form) / "manifest.json").read_bytes()

    def close(self) -> None:
        if (self._home / "storage").exists():
            self.buildah("rmi", "--all", "--force")
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def buildah(self, *words: str | Path) -> None:
        """Raises RuntimeError with buildah's own message."""
        command = ["buildah", "--root", self._home / "storage", "--runroot", self._home / "run",
                   "--storage-driver", "vfs", *words]  # fmt: skip
        _run(command)

    @functools.cached_property
    def image(self) -> str:
        """Built from the Dockerfile: two layers, in Docker's format; buildah's name of it."""
        self._build("base", _BASE)
        self._build("built", _DOCKERFILE)
        return "localhost/built"

    @functools.cached_property
    def several(self) -> str:
        """An index of `image` and one of each of OTHERS; buildah's name of it."""
        self.buildah("manifest", "create", "several", self.image)
        for other in OTHERS:
            name = other.replace("/", "-")
            self._build(name, _OTHER, "--platform", other)
            _, architecture, *variant = other.split("/")
            self.buildah("manifest", "add", "--arch", architecture,
                         *(["--variant", variant[0]] if variant else []),
                         "several", f"localhost/{name}")  # fmt: skip
        return "localhost/several"

    def _build(self, name: str, dockerfile: str, *options: str) -> None:
        self._context.mkdir(parents=True, exist_ok=True)
        if not (self._context / "busybox").exists():
            shutil.copy(BUSYBOX, self._context / "busybox")
        file = self._context / f"{name}.Dockerfile"
        file.write_text(dockerfile)
        self.buildah("bud", "--isolation", "chroot", "--format", "docker", "--timestamp", "0",
                     "--layers=false", *options, "-f", file, "-t", name, self._context)  # fmt: skip


def _pushed(built: Built, path: Path, media: str, compression: str | None) -> None:
    packed = ["--compression-format", compression, "-D=false"] if compression else ["-D=true"]
    built.buildah("push", *packed, "--format", media, built.image, f"dir:{path}")


def _index(built: Built, path: Path, media: str) -> None:
    built.buildah("manifest", "push", "--all", "--format", media, built.several, f"dir:{path}")


def _umoci(built: Built, path: Path) -> None:
    """From nothing: a file put in, and the config set."""
    layout = path.with_name(f"{path.name}.layout")
    image = f"{layout}:image"
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")
    _run(["umoci", "init", "--layout", layout])
    _run(["umoci", "new", "--image", image])
    _run(["umoci", "insert", "--image", image, BUSYBOX, "/bin/busybox"])
    _run(["umoci", "config", "--image", image, "--architecture", architecture, "--os", "linux",
          "--config.entrypoint", "/bin/busybox", "--config.cmd", "sleep", "--config.cmd", "3600",
          "--config.env", "PATH=/bin", "--config.workingdir", "/made/by/umoci",
          "--config.exposedports", "80/tcp", "--config.volume", "/data",
          "--config.stopsignal", "SIGINT", "--config.label", "org.example.role=umoci"])  # fmt: skip
    skopeo("copy", f"oci:{image}", f"dir:{path}")
    shutil.rmtree(layout)


def _plain(name: str) -> str:
    """For skopeo, which ends an archive's path at a colon."""
    return name.replace("/", "_").replace(":", "-")


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"cannot {' '.join(map(str, command))}: {done.stderr.strip()}")


#: Name → how it is made.
FORMS: Mapping[str, Callable[[Built, Path], None]] = {
    "oci-plain": lambda built, path: _pushed(built, path, "oci", None),
    "oci-gzip": lambda built, path: _pushed(built, path, "oci", "gzip"),
    "oci-zstd": lambda built, path: _pushed(built, path, "oci", "zstd"),
    "docker-plain": lambda built, path: _pushed(built, path, "v2s2", None),
    "docker-gzip": lambda built, path: _pushed(built, path, "v2s2", "gzip"),
    "oci-index": lambda built, path: _index(built, path, "oci"),
    "docker-list": lambda built, path: _index(built, path, "v2s2"),
    "umoci": _umoci,
}
