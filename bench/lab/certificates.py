"""An authority of one's own, and certificates by it for names of this machine.

    authority = Authority(folder)          authority.pem
    authority.issue('registry')            good for 127.0.0.1 and localhost
    authority.issue('old', expired=True)

Made with `openssl ca`, and strict enough for Python 3.13, which wants key usages and key
identifiers.
"""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAMES = ("IP:127.0.0.1", "DNS:localhost")
_DAY = timedelta(days=1)
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_CONFIG = """\
[ca]
default_ca = lab
[lab]
database = {name}.index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
x509_extensions = leaf
copy_extensions = copy
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True)
class Certificate:
    """PEM files: the certificate and its key, without a passphrase."""

    pem: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """For the end that answers; asks nobody for a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem, self.key)
        return context


class Authority:
    """Signs certificates. Its own is `pem`; everything lies in `folder`, by name."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = name
        folder.mkdir(parents=True, exist_ok=True)
        self.pem = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._config = folder / f"{name}.cnf"
        self._config.write_text(_CONFIG.format(name=name))
        (folder / f"{name}.index").touch()
        self._openssl("req", "-x509", *_CURVE, "-subj", f"/CN=lab {name}", "-days", "2",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                      "-keyout", self._key, "-out", self.pem)  # fmt: skip

    def issue(
        self, name: str, names: Sequence[str] = NAMES, *, rsa: bool = False, expired: bool = False
    ) -> Certificate:
        """A certificate for clients and servers.

        Args:
            names: as openssl writes them in a subjectAltName, `IP:…` or `DNS:…`.
            rsa: an RSA key of 2048 bits, else one of the P-256 curve.
            expired: it was good until yesterday.
        """
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        kind = ("-newkey", "rsa:2048", "-nodes") if rsa else _CURVE
        self._openssl("req", "-new", *kind, "-subj", f"/CN={name}",
                      "-addext", f"subjectAltName={','.join(names)}",
                      "-keyout", made.key, "-out", request)  # fmt: skip
        now = datetime.now(UTC) - _DAY
        since, until = (now - _DAY, now) if expired else (now, now + 3 * _DAY)
        self._openssl("ca", "-batch", "-notext", "-config", self._config, "-cert", self.pem,
                      "-keyfile", self._key, "-startdate", f"{since:%Y%m%d%H%M%SZ}",
                      "-enddate", f"{until:%Y%m%d%H%M%SZ}",
                      "-in", request, "-out", made.pem)  # fmt: skip
        return made

    def _openssl(self, *words: str | Path) -> None:
        done = subprocess.run(
            ["openssl", *words],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"cannot {' '.join(map(str, words))}: {done.stderr.strip()}")
