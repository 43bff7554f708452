"""Image archives that lie on the node, beneath the folders that the operator allows."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from longshore.errors import Exhausted, HostFailed, InvalidRequest
from longshore.host.beneath import open_allowed
from longshore.host.hangs import Hangs

#: Seconds that a file system may take to open an archive.
DEADLINE = 10.0
_RULE = "images.archive_roots"
_FIELD = "path"


class Archives:
    """Args:
    roots: folders of the node beneath which an archive may be.
    deadline: seconds for opening one.
    """

    def __init__(self, roots: Sequence[Path], deadline: float = DEADLINE) -> None:
        self._roots = tuple(roots)
        self._hangs = Hangs(deadline)

    @contextmanager
    def opened(self, path: Path) -> Iterator[Path]:
        """A path of the archive as it was resolved, though somebody swaps a link meanwhile.

        Raises:
            PolicyForbids: it is beneath no root.
            InvalidRequest: there is no such file.
            DeadlineExceeded, HostBusy: the file system does not answer.
            HostFailed: it cannot be read.
        """
        descriptor = self._hangs.run(
            f"load {path}", str(path), partial(self._open, path), discard=os.close
        )
        try:
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)

    @contextmanager
    def created(self, path: Path) -> Iterator[BinaryIO]:
        """A new file that gets its name, and is on the disk, when the body ends well.

        Raises:
            PolicyForbids: it is beneath no root.
            InvalidRequest: its folder is not there, or it is there already.
            DeadlineExceeded, HostBusy: the file system does not answer.
            Exhausted: it is full; also from the body.
            HostFailed: it cannot be written; also from the body.
        """
        folder = self._hangs.run(
            f"save to {path}", str(path), partial(self._folder, path), discard=os.close
        )
        try:
            with _writing(path):
                _check_new(path, folder)
                # Without a name until it is whole: it goes with us, however we end.
                descriptor = os.open(
                    ".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o640, dir_fd=folder
                )
                with os.fdopen(descriptor, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(descriptor)
                    os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder)
        finally:
            os.close(folder)

    def _folder(self, path: Path) -> int:
        """May hang."""
        if path.name in ("", "..") or ".." in path.parts:
            raise InvalidRequest(f"cannot save to {path}: it names no file", field=_FIELD)
        place = open_allowed(
            *(path.parent, self._roots, _FIELD),
            verb="save to",
            missing=InvalidRequest,
            rule=_RULE,
        )
        try:
            return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidRequest(
                f"cannot save to {path}: {path.parent} is no folder", field=_FIELD, object=str(path)
            ) from error
        finally:
            os.close(place)

    def _open(self, path: Path) -> int:
        """May hang."""
        place = open_allowed(
            path, self._roots, _FIELD, verb="load", missing=InvalidRequest, rule=_RULE
        )
        try:
            # Before it is opened for reading: a device may act on that, and a fifo wait for it.
            if not stat.S_ISREG(os.fstat(place).st_mode):
                raise InvalidRequest(
                    f"cannot load {path}: not a regular file", field=_FIELD, object=str(path)
                )
            return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise HostFailed(
                f"cannot load {path}: {error.strerror}", field=_FIELD, object=str(path)
            ) from error
        finally:
            os.close(place)


def _check_new(path: Path, folder: int) -> None:
    """Early, so that nobody waits for an archive that cannot get its name."""
    try:
        os.lstat(path.name, dir_fd=folder)
    except FileNotFoundError:
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path.name)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise InvalidRequest(
            f"cannot save to {path}: it is there already",
            field=_FIELD,
            object=str(path),
            hint="remove it first, or choose another name",
        ) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (Exhausted if full else HostFailed)(
            f"cannot save to {path}: {error.strerror}", field=_FIELD, object=str(path)
        ) from error
