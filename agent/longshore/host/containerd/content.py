"""Blobs in containerd's content store, by their digest.

A write goes on where an earlier one of the same blob was cut off. containerd verifies size and
digest before a blob can be seen; bytes that turn out wrong are thrown away.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from longshore.errors import BadImage, Conflict, HostBusy, Interrupted, LongshoreError, NotFound
from longshore.host.containerd import ingest
from longshore.host.containerd.client import Client, Refused, translated
from longshore.host.containerd.ingest import REF, Blob, Course
from longshore.model.transfer import Reader
from longshore.pb.containerd import content_pb2

#: What a reader raises whose source is cut off or damaged.
READ_ERRORS = (OSError, EOFError, zlib.error)
#: Of it several are on their way at once for each blob, each in a few copies.
CHUNK = 256 * 1024
#: For how long, in seconds, the bytes of a slow line are gathered to one request.
_GATHER = 0.5

Opener = Callable[[int], AbstractContextManager[Reader]]


def write(client: Client, blob: Blob, open: Opener, lease: str, course: Course) -> None:
    """Stores a blob, under a lease. One that is there already is not read again, and is kept.

    Of one blob there is one write at a time, in all of containerd.

    Args:
        open: the blob from that many bytes on.

    Raises:
        BadImage: the bytes are not those that the digest is of, or cannot be read.
        HostBusy: somebody else is writing it.
        Exhausted, HostFailed and its children: from containerd.
        LongshoreError: from the reader, and from the course. What was written is thrown away, but
            when the agent stops (Interrupted): then the next write goes on from there.
    """
    try:
        if not _write(client, blob, open, lease, course):
            # What an earlier life of the agent left may have been wrong, and the rest right.
            abort(client, blob.ref)
            if not _write(client, blob, open, lease, course):
                # Not ours: containerd begins with what another namespace has of this digest.
                raise BadImage(
                    f"cannot store {blob.digest}: it is here with another size than the "
                    f"{blob.size} bytes that were announced",
                    object=blob.digest,
                )
    except (Interrupted, HostBusy):
        raise
    except LongshoreError as error:
        try:
            abort(client, blob.ref)
        except LongshoreError as second:
            error.add_note(f"and then: {second}")
        raise


def read(client: Client, digest: str, limit: int) -> bytes:
    """The whole blob.

    Raises:
        NotFound: it is not there.
        BadImage: it is larger than `limit` bytes.
    """
    what = f"read {digest}"
    request = content_pb2.ReadContentRequest(digest=digest, size=limit + 1)
    parts: list[bytes] = []
    for answer in client.stream(client.content.Read, request, what, object=digest):
        parts.append(answer.data)
    data = b"".join(parts)
    if len(data) > limit:
        raise BadImage(f"cannot {what}: larger than {limit} bytes", object=digest)
    return data


@contextmanager
def opened(client: Client, digest: str, offset: int, timeout: float) -> Iterator[Reader]:
    """A blob from `offset` on. Raises NotFound, from the first `read`."""
    request = content_pb2.ReadContentRequest(digest=digest, offset=offset)
    call = client.content.Read(request, timeout=timeout, metadata=client.metadata())
    try:
        yield _Stream(call, f"read {digest}", digest)
    finally:
        call.cancel()


def size(client: Client, digest: str) -> int | None:
    """Bytes of the blob; None: it is not there."""
    request = content_pb2.InfoRequest(digest=digest)
    try:
        answer = client.call(client.content.Info, request, f"look up {digest}", object=digest)
    except NotFound:
        return None
    return int(answer.info.size)


def sizes(client: Client) -> Mapping[str, int]:
    """Bytes of all blobs, and of what is there of those that are not complete, by digest."""
    statuses = content_pb2.ListStatusesRequest()
    answer = client.call(client.content.ListStatuses, statuses, "list unfinished content")
    found = {
        one.ref.removeprefix(REF): int(one.offset)
        for one in answer.statuses
        if one.ref.startswith(REF)
    }
    request = content_pb2.ListContentRequest()
    for part in client.stream(client.content.List, request, "list content"):
        found.update((info.digest, int(info.size)) for info in part.info)
    return found


def abort(client: Client, ref: str) -> None:
    """Throws away what an unfinished write left; nothing there is fine."""
    try:
        client.call(client.content.Abort, content_pb2.AbortRequest(ref=ref), f"abort {ref}")
    except NotFound:
        return


def _write(client: Client, blob: Blob, open: Opener, lease: str, course: Course) -> bool:
    """Returns False when bytes of an earlier write make the whole wrong."""
    what = f"store {blob.digest}"
    with ingest.opened(client, blob, lease, course, what) as session:
        try:
            start = session.begin()
        except Conflict:
            _keep(client, blob)
            return True
        if start > blob.size:
            return False
        if start < blob.size or start == 0:
            _send(session, blob, open, start, course, what)
        try:
            session.commit()
        except Conflict:
            # Somebody else of this namespace stored it meanwhile.
            _keep(client, blob)
        except Refused as error:
            if start:
                return False
            raise BadImage(
                f"cannot {what}: the bytes do not have this digest", object=blob.digest
            ) from error
    return True


def _send(
    session: ingest.Session, blob: Blob, open: Opener, offset: int, course: Course, what: str
) -> None:
    course.wrote(offset)
    try:
        with open(offset) as reader:
            while data := gather(reader, min(CHUNK, blob.size - offset)):
                session.send(offset, data)
                offset += len(data)
                course.wrote(offset)
                course.check()
            longer = offset == blob.size and reader.read(1)
    except READ_ERRORS as error:
        raise BadImage(f"cannot {what}: it cannot be read: {error}", object=blob.digest) from error
    if longer or offset < blob.size:
        why = "it goes on after that" if longer else f"it ends after {offset}"
        raise BadImage(
            f"cannot {what}: {blob.size} bytes were announced, {why}", object=blob.digest
        )


def gather(reader: Reader, limit: int) -> bytes:
    """The next bytes, up to the limit; fewer at the end, and from a source that is slow."""
    parts: list[bytes] = []
    until = time.monotonic() + _GATHER
    while limit > 0 and (part := reader.read(limit)):
        parts.append(part)
        limit -= len(part)
        if time.monotonic() > until:
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _keep(client: Client, blob: Blob) -> None:
    """The blob is there, and by the write's own lease it stays: its labels are still to come."""
    has = size(client, blob.digest)
    if has is not None and has != blob.size:
        raise BadImage(
            f"cannot use the image: {blob.digest} has {has} bytes, {blob.size} were announced",
            object=blob.digest,
        )
    if not blob.labels:
        return
    request = content_pb2.UpdateRequest(info={"digest": blob.digest, "labels": dict(blob.labels)})
    request.update_mask.paths.extend(f"labels.{name}" for name in blob.labels)
    client.call(client.content.Update, request, f"label {blob.digest}", object=blob.digest)


class _Stream:
    """A `Reader` of an answer that containerd streams."""

    def __init__(self, call: Any, what: str, digest: str) -> None:
        self._call = call
        self._what = what
        self._digest = digest
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        while not self._rest:
            with translated(self._what, self._digest):
                answer = next(self._call, None)
            if answer is None:
                return b""
            self._rest = memoryview(answer.data)
        data, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return data
