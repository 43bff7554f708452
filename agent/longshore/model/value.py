"""One value for the bus, the local API, JSON and tables; see status.py."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; every field is there, None for what is not known."""
        return self.model_dump(mode="json")
