"""The FIFOs between a command in a container and us.

The shim opens both ends of each, so that neither side's death is an end of file or an error for
the other. What nobody reads stays in the FIFO, and when that is full the command waits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from longshore.errors import Conflict, Exhausted, HostFailed
from longshore.model.execs import Output

_PIECE = 64 * 1024
#: Seconds between two looks at whether input is still wanted.
_LOOK = 0.25
#: The shim opens its end a moment after it has said that the process runs.
_OPENING = 2.0
_PAUSE = 0.002
_FULL = (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EDQUOT)


class Outputs:
    """What a command writes. One thread reads; any may `ring`.

    Args:
        fifos: stream → its FIFO, which is there.
    """

    def __init__(self, fifos: dict[str, Path]) -> None:
        self._files: dict[int, str] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            for stream, path in fifos.items():
                # Without O_NONBLOCK it would wait for a writer, which may never come.
                file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._files[file] = stream
        except OSError as error:
            self.close()
            raise _failed("read what a command writes", error) from error
        self._poll = select.poll()
        for file in (self._bell, *self._files):
            self._poll.register(file, select.POLLIN)

    @property
    def ended(self) -> bool:
        """Whether nobody has any of them open for writing any more."""
        return not self._files

    def ring(self) -> None:
        """Has `read` return at once."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._bell, 1)

    def read(self, timeout: float) -> Output | None:
        """None: nothing within so many seconds; or somebody rang; or one of them has ended."""
        for file, event in self._poll.poll(max(0.0, timeout) * 1000):
            if file == self._bell:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._bell)
            elif data := os.read(file, _PIECE) if event & select.POLLIN else b"":
                return Output(self._files[file], data)
            else:
                self._poll.unregister(file)
                os.close(file)
                del self._files[file]
        return None

    def close(self) -> None:
        """Not while another thread reads."""
        with self._lock:
            self._closed = True
            for file in (self._bell, *self._files):
                os.close(file)
            self._files = {}


class Input:
    """What a process reads: a FIFO that the shim hands on.

    Args:
        over: whether nobody reads it any more, so that what is written is of no use.
    """

    def __init__(self, path: Path, over: Callable[[], bool], what: str) -> None:
        self._path = path
        self._over = over
        self._what = what
        self._file: int | None = None
        self._lock = threading.Lock()
        self._closed = False

    def write(self, data: bytes) -> int:
        """Waits while it is full. Returns how many bytes went in: fewer than all if nobody reads it
        any more, or it was closed meanwhile.

        Raises:
            Conflict: nobody reads it: there is none, or its end was told.
        """
        left = data
        with self._lock, self._written():
            file = self._open()
            while left and file is not None and not self._is_over():
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(file, left) :]
                if left:
                    _poll_out(file)
        return len(data) - len(left)

    def reach(self) -> None:
        """Returns once the reader is there, so that nothing written before is lost."""
        with self._lock, self._written():
            self._open()

    def close(self) -> None:
        self._closed = True
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _open(self) -> int | None:
        until = time.monotonic() + _OPENING
        while self._file is None and not self._is_over():
            try:
                self._file = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno != errno.ENXIO or time.monotonic() > until:
                    raise
                time.sleep(_PAUSE)
        return self._file

    def _is_over(self) -> bool:
        return self._closed or self._over()

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            return  # it ended while we wrote
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Conflict(f"cannot {self._what}: it has no input") from error
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise Conflict(f"cannot {self._what}: its input has ended") from error
            raise _failed(self._what, error) from error


def make(folder: Path, names: list[str]) -> dict[str, Path]:
    """FIFOs in a new folder, by name. One that is there already is fine.

    Raises:
        Exhausted, HostFailed: they cannot be made.
    """
    paths = {name: folder / name for name in names}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in paths.values():
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o600)
    except OSError as error:
        raise _failed(f"make {folder}", error) from error
    return paths


def remove(folder: Path) -> None:
    """Raises HostFailed. One that is not there is fine."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed(f"remove {folder}", error) from error


def drain(folder: Path, seconds: float) -> None:
    """Throws away what is in FIFOs of a command that nobody reads any more, so that the shim is
    not left waiting, until it has closed them or for so many seconds."""
    there = {name: folder / name for name in ("stdout", "stderr") if (folder / name).exists()}
    outputs = Outputs(there)
    until = time.monotonic() + seconds
    try:
        while not outputs.ended and (left := until - time.monotonic()) > 0:
            outputs.read(left)
    finally:
        outputs.close()


def _poll_out(file: int) -> None:
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    poll.poll(_LOOK * 1000)


def _failed(what: str, error: OSError) -> HostFailed | Exhausted:
    kind = Exhausted if error.errno in _FULL else HostFailed
    return kind(f"cannot {what}: {error.strerror}")
