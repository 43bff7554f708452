"""Keystone and Glance of one's own on loopback: real ones, on sqlite, in a venv of their own.

    with PrivateOpenStack(folder) as cloud:
        image = cloud.upload('web', archive)           # by Glance's API
        cloud.openstack('image', 'list')               # by the OpenStack client

`make setup` makes the venv, because their packages would not fit beside the agent's. Both run
under cheroot, which takes uploads of unknown length, as the OpenStack client sends them.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.lab import process
from bench.lab.neighbour import Neighbour

VENV = Path(__file__).parents[2] / ".setup" / "openstack"
ADMIN_PASSWORD = "not a secret: admin"
NODE_PASSWORD = "not a secret: node"
_DOMAIN = "Default"
#: Not `-m cheroot`: the services read their own options from the command line.
_SERVER = """
from cheroot.wsgi import Server
from {service}.wsgi.api import application

Server(("127.0.0.1", {port}), application, numthreads=8).start()
"""


class PrivateOpenStack(Neighbour):
    """Users: `admin` of project `admin`, and the node's `longshore` (member) of project `cloud`.

    Ports are chosen once and kept, so that clients reconnect after a crash.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder.resolve() / "openstack"
        self.keystone_port, self.glance_port = _free_ports(2)
        self.images = self.home / "images"
        self.log = self.home / "openstack.log"
        self._token = ""

    @property
    def auth_url(self) -> str:
        return f"http://127.0.0.1:{self.keystone_port}/v3"

    @property
    def glance_url(self) -> str:
        return f"http://127.0.0.1:{self.glance_port}"

    def start(self) -> None:
        """Returns once both answer, and users, projects and the catalogue are there."""
        if not (VENV / "bin" / "openstack").exists():
            raise FileNotFoundError(f"cannot start OpenStack: {VENV} is missing (make setup)")
        self._configure()
        # Each takes seconds of one core, and they need nothing of each other.
        with ExitStack() as stack:
            glance = stack.enter_context(self._tool("glance-manage", "db_sync"))
            keystone = stack.enter_context(self._tool("keystone-manage", "db_sync"))
            _succeed(keystone)
            _succeed(glance)
        with self._tool(
            "keystone-manage", "bootstrap", "--bootstrap-password", ADMIN_PASSWORD,
            "--bootstrap-public-url", self.auth_url, "--bootstrap-internal-url", self.auth_url,
            "--bootstrap-region-id", "here",
        ) as bootstrap:  # fmt: skip
            _succeed(bootstrap)
        self.start_service("keystone")
        self.start_service("glance")
        self._fill()

    def start_service(self, service: str) -> None:
        """`keystone` or `glance`; running already is fine."""
        self._serve(service, {"keystone": self.keystone_port, "glance": self.glance_port}[service])

    def kill(self, service: str) -> None:
        """A crash: SIGKILL to `keystone` or `glance`."""
        process.end(process.recorded(self._pid_file(service)), signal.SIGKILL)

    def stop(self) -> None:
        for service in ("glance", "keystone"):
            process.end(process.recorded(self._pid_file(service)))

    def openstack(self, *words: str | Path, project: str = "cloud") -> Any:
        """The OpenStack client, as a user of the project; what it printed as JSON."""
        user, password = {
            "cloud": ("longshore", NODE_PASSWORD),
            "admin": ("admin", ADMIN_PASSWORD),
        }[project]
        done = subprocess.run(
            [VENV / "bin" / "openstack", *words],
            check=False,  # its own words say more than its exit code
            env={
                **_environment(),
                "OS_AUTH_URL": self.auth_url,
                "OS_USERNAME": user,
                "OS_PASSWORD": password,
                "OS_PROJECT_NAME": project,
                "OS_USER_DOMAIN_NAME": _DOMAIN,
                "OS_PROJECT_DOMAIN_NAME": _DOMAIN,
                "OS_IDENTITY_API_VERSION": "3",
                "OS_REGION_NAME": "here",
                "HOME": str(self.home),
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"cannot run openstack {words}: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def upload(
        self,
        name: str,
        data: bytes | None,
        *,
        visibility: str = "public",
        **properties: Any,
    ) -> str:
        """A new image's id; without data it stays queued."""
        image = self.glance(
            "POST",
            "/v2/images",
            {
                "name": name,
                "container_format": "docker",
                "disk_format": "raw",
                "visibility": visibility,
                **properties,
            },
        )
        if data is not None:
            self.glance("PUT", f"/v2/images/{image['id']}/file", data)
        return str(image["id"])

    def glance(self, method: str, path: str, body: Any = None) -> Any:
        """One request to Glance as admin; JSON both ways, bytes are sent as they are."""
        return _ask(f"{self.glance_url}{path}", method, body, token=self.token())

    def keystone(self, method: str, path: str, body: Any = None) -> Any:
        """One request to Keystone as admin."""
        return _ask(f"{self.auth_url}{path}", method, body, token=self.token())

    def token(self) -> str:
        """The admin's, asked for once."""
        if not self._token:
            self._token = self.new_token("admin", ADMIN_PASSWORD, "admin")
        return self._token

    def new_token(self, user: str, password: str, project: str) -> str:
        wanted = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {
                            "name": user,
                            "password": password,
                            "domain": {"name": _DOMAIN},
                        }
                    },
                },
                "scope": {"project": {"name": project, "domain": {"name": _DOMAIN}}},
            }
        }
        request = _request(f"{self.auth_url}/auth/tokens", "POST", wanted, None)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.headers["X-Subject-Token"])

    def revoke(self, token: str) -> None:
        """As if it had ended."""
        request = _request(f"{self.auth_url}/auth/tokens", "DELETE", None, self.token())
        request.add_header("X-Subject-Token", token)
        urllib.request.urlopen(request, timeout=30).close()

    def data(self) -> Iterable[Path]:
        folders = (self.images, self.home / "keys", self.home / "glance")
        return [*folders, *self.home.glob("*.sqlite*")]

    def _fill(self) -> None:
        """What an operator sets up: the image service in the catalogue, a project and the node's
        user in it."""
        service = self.keystone(
            "POST", "/services", {"service": {"type": "image", "name": "glance"}}
        )["service"]["id"]
        for interface in ("public", "internal"):
            self.keystone(
                "POST",
                "/endpoints",
                {
                    "endpoint": {
                        "service_id": service,
                        "interface": interface,
                        "url": self.glance_url,
                        "region_id": "here",
                    }
                },
            )
        project = self.keystone(
            "POST", "/projects", {"project": {"name": "cloud", "domain_id": "default"}}
        )["project"]["id"]
        user = self.keystone(
            "POST",
            "/users",
            {"user": {"name": "longshore", "password": NODE_PASSWORD, "domain_id": "default"}},
        )["user"]["id"]
        (role,) = self.keystone("GET", "/roles?name=member")["roles"]
        self.keystone("PUT", f"/projects/{project}/users/{user}/roles/{role['id']}")

    def _configure(self) -> None:
        self.images.mkdir(parents=True, exist_ok=True)
        for folder in ("keystone", "glance", "keys/tokens", "keys/credentials"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        for keys in ("tokens", "credentials"):
            for number in ("0", "1"):
                _fernet_key(self.home / "keys" / keys / number)
        (self.home / "keystone" / "keystone.conf").write_text(
            f"""[DEFAULT]
[database]
connection = sqlite:///{self.home}/keystone.sqlite
[fernet_tokens]
key_repository = {self.home}/keys/tokens
[fernet_receipts]
key_repository = {self.home}/keys/tokens
[credential]
key_repository = {self.home}/keys/credentials
[identity]
# Hashing is slow on purpose, and bootstrap and each login do it.
password_hash_rounds = 4
"""
        )
        (self.home / "glance" / "glance-api.conf").write_text(
            f"""[DEFAULT]
[database]
connection = sqlite:///{self.home}/glance.sqlite
[glance_store]
default_store = file
stores = file
filesystem_store_datadir = {self.images}
[paste_deploy]
flavor = keystone
config_file = {VENV}/etc/glance/glance-api-paste.ini
[oslo_concurrency]
lock_path = {self.home}/glance
[keystone_authtoken]
auth_type = password
auth_url = {self.auth_url}
www_authenticate_uri = {self.auth_url}
username = admin
password = {ADMIN_PASSWORD}
project_name = admin
user_domain_name = {_DOMAIN}
project_domain_name = {_DOMAIN}
# A token that was revoked is refused at once.
token_cache_time = -1
"""
        )

    def _tool(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        service = name.partition("-")[0]
        file = {"keystone": "keystone.conf", "glance": "glance-api.conf"}[service]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    VENV / "bin" / name,
                    "--config-file",
                    self.home / service / file,
                    *words,
                ],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _serve(self, service: str, port: int) -> None:
        if process.recorded(self._pid_file(service)):
            return
        child = process.start(
            [
                VENV / "bin" / "python",
                "-c",
                _SERVER.format(service=service, port=port),
            ],
            log=self.log,
            pid_file=self._pid_file(service),
            env={
                **_environment(),
                "OS_KEYSTONE_CONFIG_DIR": str(self.home / "keystone"),
                "OS_GLANCE_CONFIG_DIR": str(self.home / "glance"),
            },
            cwd=self.home,
        )
        process.wait_until(lambda: _answers(port), child, deadline=60.0, log=self.log)

    def _pid_file(self, service: str) -> Path:
        return self.home / f"{service}.pid"


def _environment() -> Mapping[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "LANG": "C.UTF-8",
        "PYTHONWARNINGS": "ignore",
    }


def _fernet_key(file: Path) -> None:
    """What `keystone-manage fernet_setup` writes: 32 random bytes in base64."""
    file.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
    file.chmod(0o600)


def _succeed(tool: subprocess.Popen[bytes]) -> None:
    if tool.wait(timeout=120):
        raise RuntimeError(f"cannot set OpenStack up: {tool.args!r} exits {tool.returncode}")


def _request(url: str, method: str, body: Any, token: str | None) -> urllib.request.Request:
    raw = isinstance(body, bytes)
    headers = {"Content-Type": "application/octet-stream" if raw else "application/json"}
    if token:
        headers["X-Auth-Token"] = token
    data = body if raw or body is None else json.dumps(body).encode()
    return urllib.request.Request(url, data, headers, method=method)


def _ask(url: str, method: str, body: Any, token: str) -> Any:
    with urllib.request.urlopen(_request(url, method, body, token), timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2.0).close()
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has; held together until all are known, so they differ."""
    with ExitStack() as stack:
        wires = [stack.enter_context(socket.socket()) for _ in range(count)]
        for wire in wires:
            wire.bind(("127.0.0.1", 0))
        return [int(wire.getsockname()[1]) for wire in wires]
