"""What of a log is asked for, as it is on the wire, and what comes of it."""

from __future__ import annotations

import math
from typing import Any

from longshore.errors import InvalidRequest
from longshore.model.logs import STREAMS
from longshore.model.status import LogChunk
from longshore.pb.longshore.v1 import agent_pb2


def log_choice(request: Any) -> dict[str, Any]:
    """The arguments of `Service.logs`. Raises InvalidRequest, with the field."""
    given = {
        name: getattr(request, name) if request.HasField(name) else None
        for name in ("tail", "since", "until", "stream")
    }
    wrong = {
        "tail": (given["tail"] or 0) < 0 and "must not be negative",
        "since": not math.isfinite(given["since"] or 0) and "must be a time",
        "until": not math.isfinite(given["until"] or 0) and "must be a time",
        "stream": given["stream"] not in (None, *STREAMS) and f"must be {' or '.join(STREAMS)}",
    }
    for field, why in wrong.items():
        if why:
            raise InvalidRequest(f"cannot read the log: {field} {why}", field=field)
    return {**given, "timestamps": request.timestamps}


def log_chunk(chunk: LogChunk) -> Any:
    return agent_pb2.LogChunk(
        stream=chunk.stream, data=chunk.data, at=chunk.at, offset=chunk.offset
    )
