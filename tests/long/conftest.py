"""Tests that take minutes: `make test-long`. Same neighbours as those of tests/e2e."""

from __future__ import annotations

from e2e.conftest import containerd, folder, lab, rabbit

__all__ = ["containerd", "folder", "lab", "rabbit"]
