"""Debian's docker-registry on loopback: plain, with TLS, and asking who you are.

with PrivateRegistry(folder) as registry:                       plain HTTP
    registry.push(busybox_archive(...), 'library/busybox:1')
PrivateRegistry(folder, tls=authority.issue('registry'), ca=authority.pem)
PrivateRegistry(..., basic=True)                                USER and PASSWORD
PrivateRegistry(..., tokens=TokenServer(...))
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bench.lab import process
from bench.lab.certificates import Certificate
from bench.lab.neighbour import Neighbour
from bench.lab.token_server import ISSUER, PASSWORD, SERVICE, USER, TokenServer

#: bcrypt of PASSWORD at its lowest cost: the registry computes it again for each request.
_HTPASSWD = f"{USER}:$2b$04$6QcOCu3lf5y02fyq/AMBf.AucikdCGUl8SbQTLCpwIWd3FlU3Ecz2\n"
_ACCESS = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3}) (\d+) ')


@dataclass(frozen=True)
class Request:
    """One line of the registry's access log; `size` is of the answer's body."""

    method: str
    path: str
    status: int
    size: int


class PrivateRegistry(Neighbour):
    """`registry.host` is what image names begin with.

    Args:
        folder: its data, configuration and log.
        tls: its certificate; without: plain HTTP.
        ca: who signed that, as PEM; for clients.
        basic: whether it wants USER's password for everything.
        tokens: it wants tokens of this server, which somebody else runs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tls: Certificate | None = None,
        ca: Path | None = None,
        basic: bool = False,
        tokens: TokenServer | None = None,
    ) -> None:
        self.home = folder.resolve() / "registry"
        self.log = self.home / "registry.log"
        self.ca = ca
        self._tls = tls
        self._basic = basic
        self._tokens = tokens
        self._pid_file = self.home / "registry.pid"
        self._port_file = self.home / "port"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    @property
    def port(self) -> int:
        """Chosen at the first look and kept."""
        try:
            return int(self._port_file.read_text())
        except FileNotFoundError:
            self.home.mkdir(parents=True, exist_ok=True)
            with socket.socket() as wire:
                wire.bind(("127.0.0.1", 0))
                self._port_file.write_text(str(wire.getsockname()[1]))
            return self.port

    @property
    def settings(self) -> str:
        """TOML for [images] registries: how it is reached."""
        line = f"ca = {json.dumps(str(self.ca))}" if self._tls else "plain_http = true"
        return f'[registry."{self.host}"]\n{line}\n'

    @property
    def blobs(self) -> Path:
        """Where it keeps all blobs, as `xx/<hex digest>/data`."""
        return self.home / "data/docker/registry/v2/blobs/sha256"

    def start(self) -> None:
        """Returns once it answers. Running already is fine."""
        if process.recorded(self._pid_file):
            return
        (self.home / "htpasswd").parent.mkdir(parents=True, exist_ok=True)
        (self.home / "htpasswd").write_text(_HTPASSWD)
        config = self.home / "config.yml"
        config.write_text(self._config())
        child = process.start(
            ["docker-registry", "serve", config], log=self.log, pid_file=self._pid_file
        )
        process.wait_until(self._answers, child, deadline=30.0, log=self.log)

    def stop(self) -> None:
        process.end(process.recorded(self._pid_file))

    def push(self, archive: Path, name: str, *, form: str = "oci-archive") -> str:
        """Copies an archive's image to `name` (`library/busybox:1`); returns its digest there.

        Args:
            form: skopeo's name for what the archive is, oci-archive or docker-archive.
        """
        digest = self.home / f"{uuid4()}.digest"
        skopeo("copy", "--all", "--digestfile", digest, *self.access("dest"),
               f"{form}:{archive}", f"docker://{self.host}/{name}")  # fmt: skip
        try:
            return digest.read_text().strip()
        finally:
            digest.unlink()

    def access(self, side: str) -> list[str | Path]:
        """Options by which skopeo may use it as `src` or `dest`."""
        words: list[str | Path] = [f"--{side}-tls-verify={'true' if self._tls else 'false'}"]
        if self.ca:
            trusted = self.home / "trusted"
            trusted.mkdir(exist_ok=True)
            shutil.copy(self.ca, trusted / "ca.crt")
            words += [f"--{side}-cert-dir", trusted]
        if self._basic or self._tokens:
            words += [f"--{side}-creds", f"{USER}:{PASSWORD}"]
        return words

    def requests(self, path: str = r".*") -> list[Request]:
        """What it has answered since it was made, where all of the path matches; no query."""
        mark = str(uuid4())
        self._ask(f"/v2/?mark={mark}")
        until = time.monotonic() + 10.0
        # A line is written when its answer has been sent; those before ours are there then.
        while mark not in (text := self.log.read_text(errors="replace")):
            if time.monotonic() > until:
                raise TimeoutError(f"cannot read {self.log}: our own request is not in it")
            time.sleep(0.002)
        found = []
        for method, url, status, size in _ACCESS.findall(text):
            if "mark=" not in url and re.fullmatch(path, plain := url.partition("?")[0]):
                found.append(Request(method, plain, int(status), int(size)))
        return found

    def data(self) -> Iterable[Path]:
        return [self.home / "data"]

    def _config(self) -> str:
        """JSON is YAML."""
        wire: dict[str, object] = {"addr": self.host, "secret": "lab"}
        if self._tls:
            wire["tls"] = {"certificate": str(self._tls.pem), "key": str(self._tls.key)}
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.home / "data")},
                "delete": {"enabled": True},
                "cache": {"blobdescriptor": "inmemory"},
            },
            "http": wire,
        }
        if self._basic:
            config["auth"] = {"htpasswd": {"realm": "lab", "path": str(self.home / "htpasswd")}}
        if self._tokens:
            config["auth"] = {
                "token": {
                    "realm": self._tokens.realm,
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(self._tokens.signer.pem),
                }
            }
        return json.dumps(config, indent=2)

    def _answers(self) -> bool:
        try:
            self._ask("/v2/")
        except OSError:
            return False
        return True

    def _ask(self, path: str) -> None:
        if self._tls:
            trusting = ssl.create_default_context(cafile=self.ca)
            wire: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=5.0, context=trusting
            )
        else:
            wire = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            wire.request("GET", path)
            wire.getresponse().read()
        finally:
            wire.close()


def skopeo(*words: str | Path) -> str:
    """Runs skopeo and returns what it prints.

    Raises:
        RuntimeError: it failed; the message is skopeo's own.
    """
    command = ["skopeo", "--insecure-policy", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"cannot {' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout
