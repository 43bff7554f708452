"""A named volume, as the journal has it: it is there before any container uses it, and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Volume:
    """`created_at` in Unix seconds."""

    name: str
    created_at: float
    labels: Mapping[str, str] = field(default_factory=dict)
