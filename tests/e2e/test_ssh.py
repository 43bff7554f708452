"""A key pair as its owner uses it: ssh, through a published port, into a container's own sshd."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.image import busybox_archive
from e2e.lab import Lab, until
from fields.proofs import proves
from longshore.errors import StartFailed
from longshore.model.status import ContainerStatus

pytestmark = pytest.mark.usefixtures("clean")
#: Keys alone (-s), in the foreground, where any user may bind port 22.
_SSHD = """
/usr/bin/dropbearkey -t ed25519 -f /tmp/host >/dev/null 2>&1
exec /usr/sbin/dropbear -F -E -s -r /tmp/host -p 22
"""
_OPTIONS = (
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "GlobalKnownHostsFile=/dev/null",
    "ConnectTimeout=5",
    "LogLevel=ERROR",
)


@pytest.fixture
def image(lab: Lab, tmp_path: Path) -> Iterator[str]:
    programs = [Path("/usr/sbin/dropbear"), Path("/usr/bin/dropbearkey")]
    archive = busybox_archive(tmp_path / "sshd.tar", "sshd:1", programs=programs)
    with archive.open("rb") as file:
        lab.client.load_image(file)
    yield "sshd:1"
    lab.delete_all()
    lab.client.remove_image("sshd:1")


def keys(folder: Path, name: str) -> tuple[Path, str]:
    """A new key pair: the file of the private one, and the public one."""
    file = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file], check=True
    )
    return file, file.with_suffix(".pub").read_text().strip()


def ssh(port: int, user: str, key: Path, command: str) -> subprocess.CompletedProcess[str]:
    options = [word for option in _OPTIONS for word in ("-o", option)]
    where = ["-F", "/dev/null", "-i", str(key), "-p", str(port), f"{user}@127.0.0.1"]
    return subprocess.run(
        ["ssh", *options, *where, command], capture_output=True, text=True, timeout=30
    )


def log_of(lab: Lab, container: ContainerStatus) -> str:
    return b"".join(chunk.data for chunk in lab.client.logs(container.id)).decode()


def wait_for_sshd(lab: Lab, container: ContainerStatus, starts: int) -> None:
    until(lambda: log_of(lab, container).count("Not backgrounding") == starts)


@proves("key_pair.name", back="its status; it is a name for people")
@proves("key_pair.public_keys", back="ssh, by which its owner gets in and nobody else")
def test_the_owner_of_the_key_gets_in_and_nobody_else(lab: Lab, image: str, tmp_path: Path) -> None:
    own, public = keys(tmp_path, "own")
    second, other = keys(tmp_path, "second")
    wrong, _ = keys(tmp_path, "wrong")
    for user, numbers, home in (("root", "0 0", "/root"), ("app", "1000 1000", "/home/app")):
        made = lab.client.create(
            lab.spec(
                image=image,
                command=["sh", "-c", _SSHD],
                user=user,
                ports=[{"container_port": 22}],
                key_pair={"name": "laptop", "public_keys": [public, other]},
            )
        )
        assert made.spec["key_pair"]["name"] == "laptop"
        port = made.ports[0].host_port
        wait_for_sshd(lab, made, 1)
        for key in (own, second):
            answer = ssh(port, user, key, 'echo $(id -u) $(id -g) "$HOME"; umask')
            assert (answer.returncode, answer.stderr) == (0, "")
            assert answer.stdout == f"{numbers} {home}\n0022\n"
        refused = ssh(port, user, wrong, "id")
        assert (refused.returncode, refused.stdout) == (255, "")
        assert "Permission denied (publickey)" in refused.stderr
        # As sshd's StrictModes wants it: nobody but its user, or root, may write in there.
        listed = ssh(port, user, own, "cd && stat -c '%u %a' . .ssh .ssh/authorized_keys")
        modes = [line.split() for line in listed.stdout.splitlines()]
        assert modes[2] == [numbers.split()[0], "600"]
        assert all(int(mode, 8) & 0o022 == 0 for _, mode in modes)
        assert {owner for owner, _ in modes} <= {"0", numbers.split()[0]}
        # The container may let others in, until it is stopped.
        guest, third = keys(tmp_path, f"third-{user}")
        ssh(port, user, own, f"echo '{third}' >> .ssh/authorized_keys")
        assert ssh(port, user, guest, "id -u").stdout.split() == numbers.split()[:1]
        lab.client.stop(made.id, grace=0.0)
        lab.client.start(made.id)
        wait_for_sshd(lab, made, 2)
        assert ssh(port, user, own, "id -u").stdout.split() == numbers.split()[:1]
        assert ssh(port, user, guest, "id -u").returncode == 255


def test_a_user_without_a_home_in_the_image(lab: Lab, image: str, tmp_path: Path) -> None:
    _, public = keys(tmp_path, "own")
    pair = {"name": "laptop", "public_keys": [public]}
    made = lab.client.create(lab.spec(user="nobody", key_pair=pair))  # its home is /
    assert made.state == "running"
    passwd = b"root:x:0:0::/root:/bin/sh\nlost:x:7:7::/home/lost:/bin/sh\n"
    archive = busybox_archive(tmp_path / "lost.tar", "lost:1", files={"/etc/passwd": passwd})
    with archive.open("rb") as file:
        lab.client.load_image(file)
    try:
        spec = lab.spec(image="lost:1", user="lost", key_pair=pair)
        with pytest.raises(StartFailed, match="no folder /home/lost") as caught:
            lab.client.create(spec)
        assert caught.value.field == "key_pair"
        lab.client.delete(spec["id"])
    finally:
        lab.client.remove_image("lost:1")
    lab.client.delete(made.id, force=True)
