"""When a container whose process has ended is started again by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from longshore.model.values import Part, fault


class Restart(Part):
    """Docker's restart policies. What a user stopped stays stopped under each of them, also after
    a restart of the agent or of the node.

    Args:
        policy: `no`; `on-failure`: unless its exit code was 0; `always` and `unless-stopped`:
            whatever it was. They mean the same here.
        retries: how often in a row `on-failure` tries; None: without an end.
    """

    policy: Literal["no", "on-failure", "always", "unless-stopped"] = "no"
    retries: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _counted(self) -> Restart:
        if self.retries is not None and self.policy != "on-failure":
            raise fault("retries", "are counted by on-failure alone")
        return self
