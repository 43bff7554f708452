"""Images by buildah, umoci and skopeo, of every media type and compression: from Debian's registry
into containerd, and from there into the registry again.
"""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.lab import built as made
from bench.lab.built import FORMS, Built
from bench.lab.certificates import Authority, Certificate
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import digest_of
from bench.lab.registry import PrivateRegistry
from bench.lab.token_server import PASSWORD, USER, TokenServer
from host.registry.reading import Watching
from longshore.host.containerd import introspect
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.registry.registries import Registries
from longshore.model.transfer import Auth, Credential

OURS = Auth(Credential(USER, PASSWORD))
SECONDS = 1_000_000_000


@dataclass(frozen=True)
class Lab:
    built: Built
    registry: PrivateRegistry
    images: Images
    registries: Registries


@pytest.fixture(scope="module")
def lab(authority: Authority, certificate: Certificate, built: Built) -> Iterator[Lab]:
    signer = authority.issue("built-signer", rsa=True)
    with tempfile.TemporaryDirectory(prefix="lsh-built-") as name:
        folder = Path(name)
        with (
            TokenServer(signer, certificate) as tokens,
            PrivateRegistry(folder, tls=certificate, ca=authority.pem, tokens=tokens) as registry,
            PrivateContainerd(folder) as containerd,
        ):
            settings = folder / "registries.toml"
            settings.write_text(registry.settings)
            client = Client(containerd.socket, "longshore")
            introspect.ensure_namespace(client)
            registries = Registries(settings, environ={})
            yield Lab(built, registry, Images(client, "overlayfs", spool=folder), registries)
            registries.stop()
            client.close()


@pytest.mark.parametrize("form", FORMS)
def test_there_and_back(lab: Lab, form: str) -> None:
    name = f"{lab.registry.host}/private/built:{form}"
    digest = lab.built.push(lab.registry, form, f"private/built:{form}")
    source = lab.registries.resolve(name, OURS)
    image = lab.images.store(source, Watching(), [name])
    assert (image.name, image.digest) == (name, digest)

    again = f"private/again:{form}"
    with lab.images.open(name) as content:
        sent = lab.registries.push(f"{lab.registry.host}/{again}", content, OURS, Watching())
    assert sent == _of_this_platform(lab.built.form(form))
    blobs = lab.registry.requests(rf"/v2/{again.partition(':')[0]}/manifests/{form}")
    assert [(one.method, one.status) for one in blobs][-1] == ("PUT", 201)

    lab.images.remove(name)
    assert lab.images.collect(()) >= image.size
    assert lab.images.list() == []


@pytest.mark.parametrize("form", ["oci-zstd", "docker-gzip"])
def test_what_the_dockerfile_says(lab: Lab, form: str) -> None:
    name = f"{lab.registry.host}/private/config:{form}"
    lab.built.push(lab.registry, form, f"private/config:{form}")
    lab.images.store(lab.registries.resolve(name, OURS), Watching(), [name])
    found = lab.images.detail(name)
    assert found.entrypoint == made.ENTRYPOINT
    assert found.command == made.CMD
    assert sorted(found.env) == sorted(made.ENV)
    assert (found.user, found.workdir) == (made.USER, made.WORKDIR)
    assert found.exposed_ports == made.EXPOSED
    assert found.volumes == (made.VOLUME,)
    assert found.stop_signal == made.STOP_SIGNAL
    assert found.labels[made.LABEL[0]] == made.LABEL[1]
    # buildah leaves it out of OCI's format, which has no such field.
    healthcheck = {"Test": ["CMD", "/bin/true"], "Interval": 5 * SECONDS, "Timeout": 2 * SECONDS,
                   "Retries": 2}  # fmt: skip
    assert found.healthcheck == (healthcheck if form == "docker-gzip" else None)
    lab.images.remove(name)
    lab.images.collect(())


def _of_this_platform(folder: Path) -> str:
    """Digest of the manifest in a folder of skopeo's `dir:`, or of the index's first fitting."""
    document = (folder / "manifest.json").read_bytes()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    for entry in json.loads(document).get("manifests", []):
        if entry["platform"]["architecture"] == machine:
            return str(entry["digest"])
    return digest_of(document)
