"""The grammar of image names."""

from __future__ import annotations

import pytest

from longshore.model.reference import Reference, canonical, is_glance, parse

DIGEST = "sha256:" + "0123456789abcdef" * 4

CANONICAL = {
    "busybox": "docker.io/library/busybox:latest",
    "busybox:1.36": "docker.io/library/busybox:1.36",
    "library/busybox": "docker.io/library/busybox:latest",
    "user/app": "docker.io/user/app:latest",
    "a/b/c:t": "docker.io/a/b/c:t",
    "docker.io/busybox": "docker.io/library/busybox:latest",
    "docker.io/user/app:1": "docker.io/user/app:1",
    "index.docker.io/busybox": "docker.io/library/busybox:latest",
    "quay.io/x": "quay.io/x:latest",
    "quay.io/x/y:V1_2.3-x": "quay.io/x/y:V1_2.3-x",
    "localhost/x": "localhost/x:latest",
    "localhost:5000/x": "localhost:5000/x:latest",
    "host:5000/x": "host:5000/x:latest",
    "host:5000": "docker.io/library/host:5000",
    "host/x": "docker.io/host/x:latest",
    "Host.Example.org/x": "Host.Example.org/x:latest",
    "127.0.0.1:5000/x/y": "127.0.0.1:5000/x/y:latest",
    "[::1]:5000/x": "[::1]:5000/x:latest",
    "[fe80::1]/x:1": "[fe80::1]/x:1",
    "a.b/c-d_e__f.g---h:1": "a.b/c-d_e__f.g---h:1",
    "x:_": "docker.io/library/x:_",
    f"x:{'t' * 128}": f"docker.io/library/x:{'t' * 128}",
    f"x@{DIGEST}": f"docker.io/library/x@{DIGEST}",
    f"x:1@{DIGEST}": f"docker.io/library/x:1@{DIGEST}",
    f"host:5000/x@{DIGEST}": f"host:5000/x@{DIGEST}",
    "glance://4b5c": "glance://4b5c",
    "glance://a name with blanks": "glance://a name with blanks",
}


@pytest.mark.parametrize("text", CANONICAL)
def test_the_canonical_name(text: str) -> None:
    name = canonical(text)
    assert name == CANONICAL[text]
    assert canonical(name) == name, "it is its own"
    assert is_glance(name) == text.startswith("glance://")


BAD = {
    "": "is no image name",
    " busybox": "is no image name",
    "busybox ": "no image name|no tag",
    "busybox\n": "is no image name",
    "Busybox": "must be lower case",
    "user/App": "must be lower case",
    "x:": "is no tag",
    "x:-1": "is no tag",
    "x:a b": "is no tag",
    "x:ä": "is no tag",
    f"x:{'t' * 129}": "is no tag",
    "x@": "is no sha256 digest",
    "x@sha256:00": "is no sha256 digest",
    f"x@{DIGEST.upper()}": "is no sha256 digest",
    f"x@{DIGEST}0": "is no sha256 digest",
    f"x@{DIGEST}@{DIGEST}": "is no sha256 digest",
    f"x@sha512:{'0' * 128}": "is no sha256 digest",
    f"@{DIGEST}": "is no image name",
    "/x": "is no image name",
    "x/": "is no image name",
    "a//b": "is no image name",
    "quay.io/": "is no image name",
    "../../etc/passwd": "is no registry",
    "a/../b": "is no image name",
    "a/.b": "is no image name",
    "a/b_": "is no image name",
    "a/b___c": "is no image name",
    "a..b/c": "is no registry",
    "-a.b/c": "is no registry",
    "host:port/x": "is no registry",
    "host:0/x": "is no registry",
    "host:65536/x": "is no registry",
    "host:123456/x": "is no registry",
    "[::1/x": "is no registry",
    "user@host.org/x": "is no sha256 digest",
    "https://host.org/x": "is no registry|is no image name",
    "host.org/x?y=1": "is no image name",
    f"quay.io/{'x' * 249}": "at most 255",
    "glance://": "must be glance://",
    "glance://a\nb": "must be glance://",
    f"glance://{'x' * 256}": "must be glance://",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=BAD[text]):
        canonical(text)


def test_its_parts() -> None:
    found = parse(f"localhost:5000/a/b:1@{DIGEST}")
    assert found == Reference("localhost:5000", "a/b", "1", DIGEST)
    assert (found.repository, found.suffix) == ("localhost:5000/a/b", f":1@{DIGEST}")
    assert found.version == DIGEST
    assert parse("x:1").version == "1"
    assert parse(f"x@{DIGEST}").tag is None
