"""longshore.errors over gRPC: a status code for programs that know no better, and all of it.

The whole error travels as google.rpc.Status in the trailing metadata, as is gRPC's custom.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from longshore import errors
from longshore.local import convert
from longshore.pb.longshore.v1 import agent_pb2

_DETAILS = "grpc-status-details-bin"
#: gRPC peers refuse metadata above 8 KiB unless told otherwise.
_METADATA_MAX = 6144
_MESSAGE_MAX = 1024

_CODES: Mapping[type[errors.LongshoreError], grpc.StatusCode] = {
    errors.LongshoreError: grpc.StatusCode.INTERNAL,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.PolicyForbids: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Conflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.StaleGeneration: grpc.StatusCode.FAILED_PRECONDITION,
    errors.IllegalTransition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Superseded: grpc.StatusCode.ABORTED,
    errors.ImageInUse: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PullCancelled: grpc.StatusCode.ABORTED,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StartFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.HostUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.HostBusy: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ImageSourceDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.ImageSourceUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Interrupted: grpc.StatusCode.UNAVAILABLE,
    errors.AgentBusy: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def code_of(error: errors.LongshoreError) -> grpc.StatusCode:
    """The status code of the nearest class in the table."""
    return next(_CODES[cls] for cls in type(error).__mro__ if cls in _CODES)


def encode(error: errors.LongshoreError) -> tuple[grpc.StatusCode, str, tuple[str, bytes]]:
    """Status code, message and the one entry of trailing metadata.

    Details are left out, from the end of their longest list on, where they would not fit.
    """
    code = code_of(error)
    value = error.to_dict()
    value["message"] = error.message[:_MESSAGE_MAX]
    status = _status(code, value)
    while len(status) > _METADATA_MAX and value["details"]:
        value["details"] = _shorter(value["details"])
        status = _status(code, value)
    return code, value["message"], (_DETAILS, status)


def decode(error: grpc.RpcError) -> errors.LongshoreError | None:
    """The error that an agent sent, None when the call failed without an agent's saying so."""
    metadata: Any = error.trailing_metadata() or ()
    return next((_unpack(packed) for key, packed in metadata if key == _DETAILS), None)


def _status(code: grpc.StatusCode, value: Mapping[str, Any]) -> bytes:
    number, _ = code.value
    status = status_pb2.Status(code=number, message=value["message"])
    status.details.add().Pack(convert.fill(agent_pb2.ErrorStatus(), value))
    packed: bytes = status.SerializeToString()
    return packed


def _unpack(packed: bytes) -> errors.LongshoreError | None:
    try:
        status = status_pb2.Status.FromString(packed)
        detail = agent_pb2.ErrorStatus()
        if not any(one.Unpack(detail) for one in status.details):
            return None
        return errors.from_dict(convert.to_dict(detail))
    except (DecodeError, json.JSONDecodeError):
        return None


def _shorter(details: Mapping[str, Any]) -> dict[str, Any]:
    key = max(details, key=lambda name: len(json.dumps(details[name])))
    longest = details[key]
    if isinstance(longest, list) and len(longest) > 1:
        return {**details, key: longest[: len(longest) // 2], "shortened": True}
    return {name: item for name, item in details.items() if name != key}
