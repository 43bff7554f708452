"""What the agent answers with, from the wire."""

from __future__ import annotations

import contextlib
from typing import Any

from longshore.errors import InvalidSpec
from longshore.local import convert
from longshore.model import spec as specs
from longshore.model.status import ContainerStatus


def container(message: Any) -> ContainerStatus:
    value = convert.to_dict(message)
    # As the agent has it: with every field, not only those that are worth sending. What a newer
    # agent accepts beyond this is shown as it came.
    with contextlib.suppress(InvalidSpec):
        value["spec"] = specs.recorded(value.get("spec", {})).model_dump(mode="json")
    return ContainerStatus.model_validate(value)
