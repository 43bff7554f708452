"""The registries file: what it says, and all that can be wrong with it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.lab.certificates import Authority
from longshore.errors import HostFailed, InvalidRequest
from longshore.host.registry.settings import findings, load
from longshore.model.transfer import Credential


def _file(folder: Path, text: str) -> Path:
    file = folder / "registries.toml"
    file.write_text(text)
    return file


def test_no_file_says_nothing(tmp_path: Path) -> None:
    settings = load(tmp_path / "registries.toml")
    assert (settings.registry, settings.credential) == ({}, {})
    assert settings.of("docker.io").mirrors == ()


def test_all_that_can_be_said(tmp_path: Path, authority: Authority) -> None:
    client = authority.issue("settings-client")
    (tmp_path / "secret").write_text("of-the-hub\n")
    settings = load(
        _file(
            tmp_path,
            f"""
            [registry."index.docker.io"]
            mirrors = ["https://mirror.example.org/", "http://10.0.0.2:5000"]
            credential = "hub"
            token_server = "https://auth.docker.io/token"
            [registry."registry.example.org:5000"]
            ca = "{authority.pem}"
            client_cert = "{client.pem}"
            client_key = "{client.key}"
            [registry."10.0.0.5:5000"]
            plain_http = true
            [credential.hub]
            registry = "docker.io"
            username = "someone"
            password_file = "{tmp_path / "secret"}"
            [credential.machine]
            registry = "registry.example.org:5000"
            token = "abc"
            """,
        )
    )
    hub = settings.of("docker.io")
    assert hub.mirrors == ("https://mirror.example.org", "http://10.0.0.2:5000")
    assert (hub.credential, hub.token_server) == ("hub", "https://auth.docker.io/token")
    assert settings.of("10.0.0.5:5000").plain_http
    assert settings.of("registry.example.org:5000").client_key == str(client.key)
    assert settings.credential["hub"].read() == Credential("someone", "of-the-hub")
    assert settings.credential["machine"].read() == Credential(token="abc")


def test_a_secret_is_read_when_it_is_used(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("old")
    text = f'[credential.a]\nregistry = "quay.io"\nusername = "u"\npassword_file = "{secret}"\n'
    credential = load(_file(tmp_path, text)).credential["a"]
    secret.write_text("new")
    assert credential.read().password == "new"
    secret.unlink()
    with pytest.raises(HostFailed) as caught:
        credential.read()
    assert str(caught.value) == (
        f"cannot read the credential in {secret}: No such file or directory"
    )


FAULTS = (
    ('[registry."docker.io"]\nca = "/nonexistent"',
     'registry."docker.io".ca: cannot be read: No such file or directory'),
    ('[registry."docker.io"]\nca = "relative.pem"',
     'registry."docker.io".ca: must be an absolute path'),
    ('[registry."docker.io"]\nca = "/etc/hostname"',
     'registry."docker.io": ca holds no certificate: NO_CERTIFICATE_OR_CRL_FOUND'),
    ('[registry."q.io"]\nclient_cert = "/etc/hostname"',
     'registry."q.io": client_cert and client_key do not hold a certificate and its key: '),
    ('[registry."q.io"]\nclient_key = "/etc/hostname"',
     'registry."q.io": client_key needs client_cert'),
    ('[registry."q.io"]\nmirrors = ["https://a", "ftp://b"]',
     'registry."q.io".mirrors[1]: must be a URL like https://mirror.example.org'),
    ('[registry."q.io"]\nmirrors = ["https://me:pass@b"]',
     'registry."q.io".mirrors[0]: must hold no user, query or fragment'),
    ('[registry."q.io"]\nmirrors = ["https://b:99999"]',
     'registry."q.io".mirrors[0]: must be a URL like https://mirror.example.org'),
    ('[registry."q.io"]\ntoken_server = "auth.q.io"',
     'registry."q.io".token_server: must be a URL like '),
    ('[registry."q.io"]\ninsecure = true', 'registry."q.io".insecure: no such field'),
    ('[registry."q.io"]\nplain_http = "yes"', 'registry."q.io".plain_http: must be true or false'),
    ('[registry."no registry"]', "'no registry' is no registry: it is written host[:port]"),
    ('[registry.quay]', "'quay' is no registry: it is written host[:port]"),
    ('[registry."q.io"]\ncredential = "hub"',
     'registry."q.io".credential: there is no [credential.hub]'),
    ('[registry."q.io"]\ncredential = "hub"\n[credential.hub]\nregistry = "docker.io"\n'
     'token = "t"', 'registry."q.io".credential: hub is for docker.io'),
    ('[credential.a]\nregistry = "q.io"',
     "credential.a: must have one of password, password_file, token and token_file"),
    ('[credential.a]\nregistry = "q.io"\npassword = "secret"\ntoken = "secret"',
     "credential.a: must have one of password, password_file, token and token_file"),
    ('[credential.a]\nregistry = "q.io"\npassword = "secret"',
     "credential.a: username and a password belong together; a token stands alone"),
    ('[credential.a]\nregistry = "q.io"\nusername = "u"\ntoken = "secret"',
     "credential.a: username and a password belong together; a token stands alone"),
    ('[credential.a]\nusername = "u"\npassword = "secret"', "credential.a.registry: is required"),
    ('[credential.a]\nregistry = "q.io"\nusername = "u"\npassword = 12345678',
     "credential.a.password: must be a string"),
    ('[credential.a]\nregistry = "q.io"\ntoken = "secret\\nsecret"',
     "credential.a.token: has a character that is not allowed"),
    ('[mirrors]', "mirrors: no such field"),
    ('[registry', "is not TOML: "),
)  # fmt: skip


@pytest.mark.parametrize(("text", "why"), FAULTS)
def test_what_cannot_be_used(tmp_path: Path, text: str, why: str) -> None:
    file = _file(tmp_path, text)
    with pytest.raises(InvalidRequest) as caught:
        load(file)
    message = str(caught.value)
    assert message.startswith(f"cannot use the configuration: {file}: ")
    assert why in message
    assert "secret" not in message
    assert "12345678" not in message
    assert "pass@" not in message
    assert "\n" not in message


def test_all_faults_at_once(tmp_path: Path) -> None:
    text = '[registry."q.io"]\nca = "/nonexistent"\nx = 1\n[credential.a]\nregistry = "a b"\n'
    with pytest.raises(InvalidRequest) as caught:
        load(_file(tmp_path, text))
    assert str(caught.value).partition("toml: ")[2].split("; ") == [
        'registry."q.io".ca: cannot be read: No such file or directory',
        'registry."q.io".x: no such field',
        "credential.a.registry: 'a b' is no registry: it is written host[:port]",
    ]


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"cannot be read: Is a directory"):
        load(tmp_path)


def test_who_may_read_secrets_is_found(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    file = _file(
        tmp_path,
        '[credential.a]\nregistry = "q.io"\ntoken = "t"\n'
        f'[credential.b]\nregistry = "q.io"\ntoken_file = "{secret}"\n',
    )
    settings = load(file)
    file.chmod(0o644)
    secret.chmod(0o644)
    assert findings(file, settings) == [
        f"{name} holds a registry's password and everybody can read it: chmod 0640 {name}"
        for name in (file, secret)
    ]
    file.chmod(0o640)
    secret.chmod(0o400)
    assert findings(file, settings) == []


@pytest.mark.parametrize("apart", [True, False], ids=["client_key", "client_cert alone"])
def test_who_may_read_a_key_is_found(tmp_path: Path, authority: Authority, apart: bool) -> None:
    client = authority.issue("settings-key")
    key = client.key if apart else tmp_path / "both.pem"
    key.write_bytes(client.key.read_bytes() + (b"" if apart else client.pem.read_bytes()))
    named = f'client_cert = "{client.pem}"\nclient_key' if apart else "client_cert"
    file = _file(tmp_path, f'[registry."q.io"]\n{named} = "{key}"\n')
    settings = load(file)
    key.chmod(0o644)
    assert findings(file, settings) == [
        f"{key} holds the key of a client certificate and everybody can read it: chmod 0640 {key}"
    ]
    key.chmod(0o640)
    assert findings(file, settings) == []


def test_a_file_without_secrets_may_be_read(tmp_path: Path) -> None:
    file = _file(tmp_path, '[registry."q.io"]\nplain_http = true\n')
    file.chmod(0o644)
    assert findings(file, load(file)) == []


def test_settings_do_not_show_secrets(tmp_path: Path) -> None:
    text = (
        '[credential.a]\nregistry = "q.io"\ntoken = "hidden"\n'
        '[credential.b]\nregistry = "q.io"\nusername = "u"\npassword = "hidden"\n'
    )
    assert "hidden" not in repr(load(_file(tmp_path, text)))


@pytest.mark.parametrize("content", [b"a b\nc", b"\xff", b""])
def test_a_file_that_holds_no_token(tmp_path: Path, content: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    text = f'[credential.a]\nregistry = "quay.io"\ntoken_file = "{secret}"\n'
    with pytest.raises(HostFailed, match=f"the credential in {secret}"):
        load(_file(tmp_path, text)).credential["a"].read()
