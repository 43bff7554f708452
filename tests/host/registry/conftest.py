"""An authority and built images for the room; a registry that goes wrong is each test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.lab.bad_registry import BadRegistry
from bench.lab.built import Built
from bench.lab.certificates import Authority, Certificate


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:
    """Good for 127.0.0.1 and localhost."""
    return authority.issue("registry")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with Built(tmp_path_factory.mktemp("built")) as one:
        yield one


@pytest.fixture
def bad(certificate: Certificate) -> Iterator[BadRegistry]:
    """By TLS, without authentication."""
    with BadRegistry(certificate) as one:
        yield one
