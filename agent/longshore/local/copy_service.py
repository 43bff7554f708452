"""The gRPC face of lifecycle's Service, for containers' files: decode, call, encode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

import grpc

from longshore.errors import InvalidRequest
from longshore.lifecycle.service import Service
from longshore.local import convert, stall
from longshore.local.door import Door
from longshore.local.spool import CHUNK, spooled, whole
from longshore.local.stall import Watchdog
from longshore.model import copy_messages as asks
from longshore.model.message import decode
from longshore.pb.longshore.v1 import agent_pb2

LOG = logging.getLogger(__name__)


class CopyService:
    """The methods of service Agent that concern containers' files.

    Args:
        max_tar: bytes of a tar that comes in.
    """

    def __init__(self, service: Service, door: Door, max_tar: int) -> None:
        self._service = service
        self._door = door
        self._max_tar = max_tar

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {"CopyOut": self.copy_out, "CopyIn": self.copy_in, "Diff": self.diff}

    def copy_out(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with self._door.serving(context, "copy_out", "copy out of the container"):
            asked = decode(asks.CopyOut, convert.to_dict(request))
            LOG.info(
                "copy of %s of %s asked by %s", asked.path, asked.ref, self._door.origin(context)
            )
            status, pieces = self._service.copy_out(
                asked.ref, asked.path, follow_link=asked.follow_link
            )
            with closing(pieces), Watchdog(context, stall.STALL) as watchdog:
                path = convert.fill(agent_pb2.PathStatus(), status.to_dict())
                for message in _messages(path, pieces):
                    self._door.check_open("copy out of the container")
                    if not context.is_active():
                        return
                    # What is not taken off the wire is waited for in here.
                    with watchdog.waiting():
                        yield message

    def copy_in(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Any:
        what = "copy to the container"
        with (
            self._door.serving(context, "copy_in", what),
            Watchdog(context, stall.STALL) as watchdog,
        ):
            messages = watchdog.incoming(request_iterator)
            asked = _start(next(messages, None))
            LOG.info(
                "copy to %s of %s asked by %s, request %s",
                *(asked.path, asked.ref, self._door.origin(context), asked.request_id),
            )
            # Refused before all of it is sent, where that can be known.
            self._service.show(asked.ref)
            folder, limit = self._service.spool_dir, self._max_tar
            counted = _Counted(whole(messages, what))
            with spooled(counted, folder, limit, what) as tar:
                entries = self._service.copy_in(
                    asked.request_id,
                    asked.ref,
                    asked.path,
                    tar,
                    archive=asked.archive,
                    replace=asked.replace,
                )
            return agent_pb2.CopyInReply(entries=entries, bytes=counted.size)

    def diff(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "diff", "compare the container with its image"):
            asked = decode(asks.Diff, convert.to_dict(request))
            return agent_pb2.DiffReply(
                differences=(
                    convert.fill(agent_pb2.Difference(), one.to_dict())
                    for one in self._service.diff(asked.ref)
                )
            )


class _Counted:
    """Bytes, and how many have been read of them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece


def _start(message: Any) -> asks.CopyInStart:
    if message is None or not message.HasField("start"):
        raise InvalidRequest("cannot copy to the container: it did not begin", field="start")
    return decode(asks.CopyInStart, convert.to_dict(message.start))


def _messages(path: Any, pieces: Iterable[bytes]) -> Iterator[Any]:
    """CopyOutReply: what it is, its tar, and the size of that."""
    yield agent_pb2.CopyOutReply(path=path)
    size = 0
    for piece in pieces:
        # An empty one is sent too: it finds out whether anybody is still there.
        for start in range(0, max(1, len(piece)), CHUNK):
            part = piece[start : start + CHUNK]
            size += len(part)
            yield agent_pb2.CopyOutReply(data=part)
    yield agent_pb2.CopyOutReply(size=size)
