"""Named volumes: folders of the node that stay when containers go.

volumes/NAME/data          its content
volumes/NAME/.data.new     half made; becomes `data` when it is whole
volumes/NAME/settled       it was filled, or was not to be: what is in it counts from now on
volumes/.removed-…-NAME    put aside: its name is free, its content about to go
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from longshore.errors import HostBusy
from longshore.host.filling import FOLDER_MODE, make_empty, make_filled, synced, translated
from longshore.host.removal import remove_tree
from longshore.model.layout import Layout
from longshore.model.names import Names

#: Seconds to fill a volume or to remove one; what a removal did stays done.
DEADLINE = 600.0
_ASIDE = re.compile(r"\.removed-[0-9a-f]{16}-(?P<name>.+)")
_SETTLED = "settled"


class NamedVolumes:
    """Satisfies lifecycle.ports.NamedVolumes. Thread-safe; one volume holds up no other.

    Args:
        folders: the layers of a container's snapshot, topmost first (`Rootfs.folders`).
        deadline: seconds that a call may take.
    """

    def __init__(
        self,
        layout: Layout,
        folders: Callable[[Names], Sequence[str]],
        deadline: float = DEADLINE,
    ) -> None:
        self._layout = layout
        self._folders = folders
        self._deadline = deadline
        #: Each is there as long as somebody holds or waits for it.
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    def make(self, name: str) -> None:
        """An empty one; one that is there stays as it is.

        Raises:
            Exhausted, HostFailed: as they say.
            HostBusy: it is being filled.
        """
        if self._layout.named_volume(name).is_dir():
            return
        with self._alone(f"make volume {name}", name) as deadline:
            self._made(name, deadline)

    def fill(self, name: str, names: Names, target: str | None) -> None:
        """Fills one that is empty and was never used with what the container's snapshot has at
        `target`; None: it stays empty. From then on it is the containers'.

        Raises:
            BadImage: the image has a file there, no folder, or far too many files.
            Exhausted: the disk is full.
            DeadlineExceeded, HostFailed: as they say.
            HostBusy: another container fills it.
        """
        folder, data = self._layout.named_volume(name).parent, self._layout.named_volume(name)
        settled = folder / _SETTLED
        if settled.exists() and data.is_dir():
            return
        with self._alone(f"fill volume {name}", name) as deadline:
            self._made(name, deadline)
            if settled.exists():
                return
            if target is not None and not _has_entries(data):
                try:
                    make_filled(data, self._folders(names), target, deadline)
                except OSError as error:
                    # Somebody on the node has put something into it meanwhile, which counts.
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
            remove_tree(data.with_name(f".{data.name}.new"), deadline)
            settled.touch(mode=0o600)
            synced(folder)

    def put_aside(self, name: str) -> None:
        """Its name is free at once. One that is gone is fine."""
        root = self._layout.named_volumes
        with translated(f"remove volume {name}", name, self._deadline):
            try:
                (root / name).rename(root / f".removed-{secrets.token_hex(8)}-{name}")
            except FileNotFoundError:
                return
            synced(root)

    def clear(self, name: str) -> bool:
        """Removes what was put aside under that name, and says whether there was anything. Nobody
        else does so for that name meanwhile.

        Raises:
            DeadlineExceeded: there is a lot in it; calling again goes on.
            HostFailed: something in it cannot be removed.
        """
        deadline = time.monotonic() + self._deadline
        with translated(f"remove volume {name}", name, self._deadline):
            matches = map(_ASIDE.fullmatch, self._entries())
            olds = [match.string for match in matches if match and match["name"] == name]
            for old in olds:
                remove_tree(self._layout.named_volumes / old, deadline)
            return bool(olds)

    def aside(self) -> set[str]:
        """Names under which something was put aside."""
        with translated("list volumes", None, self._deadline):
            return {match["name"] for one in self._entries() if (match := _ASIDE.fullmatch(one))}

    def list(self) -> set[str]:
        """Names of those that are there."""
        with translated("list volumes", None, self._deadline):
            return {
                name
                for name in self._entries()
                if not name.startswith(".") and (self._layout.named_volume(name)).is_dir()
            }

    def _made(self, name: str, deadline: float) -> None:
        root, data = self._layout.named_volumes, self._layout.named_volume(name)
        if data.is_dir():
            return
        # `parents` makes those for everybody, and there may be setuid programs in here.
        root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        data.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        # It was lost: what comes in its place is a new one.
        (data.parent / _SETTLED).unlink(missing_ok=True)
        make_empty(data, deadline)
        for folder in (data.parent, root):
            synced(folder)

    def _entries(self) -> Sequence[str]:
        try:
            return os.listdir(self._layout.named_volumes)
        except FileNotFoundError:
            return ()

    @contextmanager
    def _alone(self, what: str, name: str) -> Iterator[float]:
        """Alone at this volume; monotonic seconds of the deadline."""
        deadline = time.monotonic() + self._deadline
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        if not lock.acquire(timeout=self._deadline):
            raise HostBusy(f"cannot {what}: it is being filled", object=name)
        try:
            with translated(what, name, self._deadline):
                yield deadline
        finally:
            lock.release()


def _has_entries(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(True for _ in entries)
