"""Files of containers copied out and in. See `views` for where they are seen.

Whatever is touched may be behind a file system whose server is dead, and the container chooses what
is behind a path. So every step is taken in a thread that is left behind when it hangs; what it
holds is given back when it comes back.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from longshore.errors import Conflict, DeadlineExceeded, Exhausted, HostFailed, LongshoreError
from longshore.host import copy_in, copy_out
from longshore.host.acting import act_for
from longshore.host.containerd.differing import Differing
from longshore.host.hangs import Hangs
from longshore.host.paths import found, last_part
from longshore.host.views import Views
from longshore.model.copying import Files, Unpacking
from longshore.model.host import Ids
from longshore.model.names import Names
from longshore.model.status import Difference, PathStatus

T = TypeVar("T")
#: Seconds for one step: a mebibyte, or a thousand entries.
_STEP = 20.0
#: Seconds for all of a copy into a container: one that does not run is not started meanwhile.
_WHOLE = 600.0
_HASHED = 1024 * 1024
_FULL = "the container's disk is full: remove files, or give it a larger limits.disk"
_KINDS: Mapping[int, tuple[type[LongshoreError], str | None]] = {
    errno.ENOSPC: (Exhausted, _FULL),
    errno.EDQUOT: (Exhausted, _FULL),
    errno.EROFS: (Conflict, "copy to a volume or a mount that is not read-only"),
    errno.ENOTDIR: (Conflict, "something in the container changed meanwhile; copy again"),
    errno.ENOTEMPTY: (Conflict, "something in the container changed meanwhile; copy again"),
    errno.ENOENT: (Conflict, "something in the container changed meanwhile; copy again"),
}


class Copies:
    """Satisfies lifecycle.ports.copying.Copies.

    Args:
        step, whole: seconds, as above.
    """

    def __init__(
        self, views: Views, differing: Differing, step: float = _STEP, whole: float = _WHOLE
    ) -> None:
        self._views = views
        self._differing = differing
        self._hangs = Hangs(step)
        self._whole = whole

    def read(
        self, files: Files, path: str, *, follow_link: bool
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        name, what = last_part(path), f"copy {path} of container {files.name}"

        def begin() -> tuple[PathStatus, Generator[bytes, None, None]]:
            with ExitStack() as held:
                view = self._views.open(files, writable=False)
                held.callback(view.close)
                with found(view, path, follow=follow_link) as fd:
                    status = copy_out.status_of(fd, name)
                    top = os.dup(fd)
                pieces = copy_out.tar_of(view, top, name)
                # From here on it gives back what it holds, however it ends.
                next(pieces)
                held.pop_all()
                return status, pieces

        with _translated(what, files.name):
            status, pieces = self._hangs.run(
                what, _object(files, path), begin, discard=lambda late: late[1].close()
            )
        return status, self._stepped(files, path, what, pieces)

    def write(self, files: Files, path: str, tar: Path, how: Unpacking) -> int:
        what = f"copy to {path} of container {files.name}"
        until = time.monotonic() + self._whole
        with tar.open("rb") as file, _translated(what, files.name):
            count = copy_in.check(file, files.ids, partial(_in_time, what, files.name, until))
        with closing(self._written(files, path, tar, how, until)) as steps:
            for _ in steps:
                _in_time(what, files.name, until)
        return count

    def digest(self, tar: Path) -> str:
        found = hashlib.sha256()
        try:
            with tar.open("rb") as file:
                while piece := file.read(_HASHED):
                    found.update(piece)
        except OSError as error:
            raise HostFailed(f"cannot read the archive: {error.strerror}") from error
        return found.hexdigest()

    def differences(self, names: Names, chain_id: str, ids: Ids | None) -> Sequence[Difference]:
        return self._differing.all(names, chain_id, ids)

    def _written(
        self, files: Files, path: str, tar: Path, how: Unpacking, until: float
    ) -> Generator[None, None, None]:
        what = f"copy to {path} of container {files.name}"

        def unpack() -> Generator[None, None, None]:
            view = self._views.open(files, writable=True)
            with ExitStack() as held:
                held.callback(view.close)
                with tar.open("rb") as file:
                    yield
                    yield from copy_in.unpacked(view, path, file, how, until)

        # Whose file system knows the numbers of a user namespace alone takes one of those.
        first = files.ids.first if files.ids and files.runs else 0
        return self._stepped(files, path, what, unpack(), partial(act_for, first))

    def _stepped(
        self,
        files: Files,
        path: str,
        what: str,
        steps: Generator[T, None, None],
        prepare: Callable[[], None] = lambda: None,
    ) -> Generator[T, None, None]:
        """The values of `steps`, each taken in a thread that may hang.

        Args:
            prepare: called in each of those threads first.
        """
        place, hangs = _object(files, path), False

        def step() -> list[T]:
            """Empty at the end."""
            prepare()
            return list(islice(steps, 1))

        try:
            while True:
                with _translated(what, files.name):
                    try:
                        values = self._hangs.run(what, place, step, lambda late: steps.close())
                    except DeadlineExceeded:
                        hangs = True
                        raise
                if not values:
                    return
                yield values[0]
        finally:
            # One that hangs is at work in its thread, which closes it.
            if not hangs:
                self._hangs.run(f"end to {what}", f"{place} (its end)", steps.close)


def _object(files: Files, path: str) -> str:
    """What may hang: one mount in the container need not be all of it."""
    return f"{files.name}:{path}"


def _in_time(what: str, name: str, until: float) -> None:
    if time.monotonic() > until:
        raise DeadlineExceeded(f"cannot {what}: it takes too long", object=name)


@contextmanager
def _translated(what: str, name: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise DeadlineExceeded(f"cannot {what}: it takes too long", object=name) from error
    except OSError as error:
        kind, hint = _KINDS.get(error.errno or 0, (HostFailed, None))
        raise kind(f"cannot {what}: {error.strerror}", object=name, hint=hint) from error
