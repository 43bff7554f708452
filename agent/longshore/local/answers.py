"""What requests of our clients carry, and what their answers become."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from longshore.errors import InvalidRequest, InvalidSpec
from longshore.local import convert
from longshore.local.image_client import message
from longshore.model import spec as specs
from longshore.model.status import ContainerStatus
from longshore.pb.longshore.v1 import agent_pb2


def intent_of(request_id: str | None, generation: int | None, wait: str | None) -> Any:
    return message(
        agent_pb2.Intent, request_id=request_id or str(uuid4()), generation=generation, wait=wait
    )


def json_of(patch: Mapping[str, Any], verb: str) -> str:
    """As it is sent. Raises InvalidRequest for what JSON does not have."""
    try:
        return json.dumps(patch)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"cannot {verb}: no JSON: {error}", field="patch") from error


def container_of(message: Any) -> ContainerStatus:
    return ContainerStatus.model_validate(whole_spec(convert.to_dict(message)))


def whole_spec(value: dict[str, Any]) -> dict[str, Any]:
    """With a spec as the agent has it: with every field, not only those that are worth sending.
    What a newer agent accepts beyond this is shown as it came."""
    with contextlib.suppress(InvalidSpec):
        return {**value, "spec": specs.recorded(value.get("spec", {})).model_dump(mode="json")}
    return value
