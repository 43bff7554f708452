"""The verbs of containers' files, as a program on the node calls them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol
from uuid import uuid4

from longshore.errors import LongshoreError
from longshore.local import convert
from longshore.local.calls import Calls
from longshore.local.image_client import message
from longshore.local.spool import CHUNK
from longshore.model.status import Difference, PathStatus
from longshore.pb.longshore.v1 import agent_pb2


class _Client(Protocol):
    """What LocalClient has, and these verbs call with."""

    _calls: Calls
    _timeout: float

    def _by(self, patience: float = 0) -> float: ...


class CopyVerbs:
    """The part of LocalClient that concerns containers' files. `path`: absolute, in there."""

    def copy_out(
        self: _Client, ref: str, path: str, *, follow_link: bool = False
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        """What is at `path`, and a tar of it in pieces, whole only if nothing is raised. Its names
        begin with the path's last part, `.` of the root. Close it.
        """
        what = f"copy {path} of {ref}"
        request = message(agent_pb2.CopyOutRequest, ref=ref, path=path, follow_link=follow_link)
        replies = self._calls.follow("CopyOut", what, request, self._timeout, resumes=False)
        first = next(replies, None)
        if first is None or not first.HasField("path"):
            raise LongshoreError(f"cannot {what}: the agent's answer broke off")
        return PathStatus.model_validate(convert.to_dict(first.path)), _data(what, replies)

    def copy_in(
        self: _Client,
        ref: str,
        path: str,
        tar: Callable[[], Iterable[bytes]],
        *,
        archive: bool = False,
        replace: bool = False,
        request_id: str | None = None,
        repeatable: bool = True,
    ) -> int:
        """Unpacks a tar in folder `path`; returns how many entries it had. All of it or, if the tar
        is refused, nothing. The timeout counts from its last byte on.

        Args:
            tar: begins it anew, where it is `repeatable`; else it is called once.
            archive: with the owners that it names. Else all is the container's user's.
            replace: a folder may take a file's place, and the reverse.
            request_id: a uuid; None: a new one. The same tar sent again with it is not unpacked
                again.
        """
        start = message(
            agent_pb2.CopyInStart,
            ref=ref,
            path=path,
            archive=archive,
            replace=replace,
            request_id=request_id or str(uuid4()),
        )

        def messages() -> Iterator[Any]:
            yield agent_pb2.CopyInChunk(start=start)
            size = 0
            for piece in tar():
                for at in range(0, len(piece), CHUNK):
                    part = piece[at : at + CHUNK]
                    size += len(part)
                    yield agent_pb2.CopyInChunk(data=part)
            yield agent_pb2.CopyInChunk(size=size)

        by = self._by() if repeatable else 0.0
        reply = self._calls.send("CopyIn", f"copy to {path} of {ref}", messages, self._timeout, by)
        return int(reply.entries)

    def diff(self: _Client, ref: str) -> Sequence[Difference]:
        """What of its files differs from its image's, by path."""
        request = message(agent_pb2.ShowRequest, ref=ref)
        reply = self._calls.ask("Diff", f"compare {ref} with its image", request, self._by())
        return [Difference.model_validate(convert.to_dict(one)) for one in reply.differences]


def _data(what: str, replies: Generator[Any, None, None]) -> Generator[bytes, None, None]:
    received, size = 0, None
    try:
        for reply in replies:
            received += len(reply.data)
            size = reply.size if reply.HasField("size") else None
            if reply.data:
                yield reply.data
    finally:
        replies.close()
    if size != received:
        raise LongshoreError(f"cannot {what}: it broke off after {received} bytes")
