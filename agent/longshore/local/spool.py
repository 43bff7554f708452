"""Archives, of images or files, that come and go in pieces.

One that arrives is kept in a file without a name for as long as needed. Nobody has to take it
away: it goes with its last descriptor, so also when the agent is killed.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from longshore.errors import Exhausted, HostFailed, InvalidRequest, MessageTooLarge
from longshore.pb.longshore.v1 import agent_pb2

#: Most of an archive that one message holds; small beside what grpc takes off the wire.
CHUNK = 1024 * 1024
_LOAD = "load the image"


@contextmanager
def spooled(
    chunks: Iterable[bytes], folder: Path, max_size: int, what: str = _LOAD
) -> Iterator[Path]:
    """Writes `chunks` to a new file in `folder`; it is gone when the block ends, however it ends.

    The path is one through this process's descriptor, for this process only.

    Args:
        what: completes 'cannot …'.

    Raises:
        MessageTooLarge: more than `max_size` bytes.
        Exhausted: the file system is full.
        HostFailed: it cannot be written.
    """
    with ExitStack() as stack:
        with _writing(folder, what):
            folder.mkdir(parents=True, exist_ok=True)
            # O_TMPFILE, and where the file system has none a name that is removed at once.
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > max_size:
                raise MessageTooLarge(
                    f"cannot {what}: the archive is above {max_size} bytes",
                    hint="the agent's configuration sets the limit",
                    details={"max_size": max_size},
                )
            with _writing(folder, what):
                file.write(chunk)
        with _writing(folder, what):
            file.flush()
        yield Path(f"/proc/self/fd/{file.fileno()}")


def empty_spool(folder: Path) -> None:
    """Removes the files that an agent left which was killed; none may be in use.

    Raises:
        HostFailed: it cannot.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
    except OSError as error:
        raise HostFailed(
            f"cannot empty the spool folder {folder}: {error.strerror}", object=str(folder)
        ) from error


def chunks(archive: Iterable[bytes]) -> Generator[Any, None, None]:
    """ImageChunk messages of an archive; closing them closes it."""
    size = 0
    with ExitStack() as stack:
        if isinstance(archive, Generator):
            stack.enter_context(closing(archive))
        for piece in archive:
            for start in range(0, len(piece), CHUNK):
                part = piece[start : start + CHUNK]
                size += len(part)
                yield agent_pb2.ImageChunk(data=part)
        yield agent_pb2.ImageChunk(size=size)


def whole(messages: Iterable[Any], what: str = _LOAD) -> Iterator[bytes]:
    """The data of ImageChunk messages, or CopyInChunk ones. `what` completes 'cannot …'.

    grpc ends the stream of a caller who left just as it ends a finished one, so only the size in
    the last message tells that nothing is missing.

    Raises:
        InvalidRequest: it broke off.
    """
    received, size = 0, None
    for message in messages:
        received += len(message.data)
        size = message.size if message.HasField("size") else None
        yield message.data
    if size != received:
        raise InvalidRequest(
            f"cannot {what}: it broke off after {received} bytes",
            field="size",
            hint="the last message gives the size of the whole archive",
        )


@contextmanager
def _writing(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cls = Exhausted if error.errno in (errno.ENOSPC, errno.EDQUOT) else HostFailed
        raise cls(
            f"cannot {what}: cannot write in {folder}: {error.strerror}",
            object=str(folder),
        ) from error
