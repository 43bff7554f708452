"""Anonymous volumes: folders of the node that hold what an image declares as data.

Each is filled from the container's own snapshot under another name, written to the disk, and only
then gets its name: one that has it is whole, also after the power went.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from longshore.host.filling import FOLDER_MODE, make_filled, synced, translated
from longshore.host.removal import remove_tree
from longshore.model.anonymous import anonymous_volumes
from longshore.model.host import Image
from longshore.model.layout import Layout
from longshore.model.mounts import Mount
from longshore.model.names import Names, is_container_id

#: Seconds to fill a container's volumes, or to remove them; what a removal did stays done.
DEADLINE = 600.0


class Data:
    """Satisfies lifecycle.ports.Data.

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

    def fill(self, names: Names, image: Image, mounts: Sequence[Mount]) -> None:
        """Makes each volume that no mount covers; one that is there stays as it is.

        Raises:
            BadImage: the image has a file where it says that a volume is, or far too many files.
            Exhausted: the disk is full.
            DeadlineExceeded, HostFailed: as they say.
        """
        missing = [
            (self._layout.data(names, one.number), one)
            for one in anonymous_volumes(image.config.volumes, mounts)
            if not self._layout.data(names, one.number).is_dir()
        ]
        if not missing:
            return
        deadline = time.monotonic() + self._deadline
        folders = self._folders(names)
        for target, one in missing:
            what = f"make volume {one.path} of {names.id}"
            with translated(what, one.path, self._deadline):
                # `parents` makes those for everybody, and there may be setuid programs in here.
                self._layout.anonymous.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
                target.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
                make_filled(target, folders if one.is_filled else (), one.path, deadline)
                # The names too: a start that finds no volume fails.
                for folder in (target.parent, self._layout.anonymous):
                    synced(folder)

    def remove(self, names: Names) -> None:
        """Removes a container's volumes, half-made ones too.

        Raises:
            DeadlineExceeded: there is a lot in them; calling again goes on.
            HostFailed: something in them cannot be removed.
        """
        folder = self._layout.anonymous / names.id
        with translated(f"remove the volumes of {names.id}", names.id, self._deadline):
            remove_tree(folder, time.monotonic() + self._deadline)

    def owned(self) -> set[str]:
        """Ids of the containers that have anonymous volumes, or the folder for them."""
        with translated("list anonymous volumes", None, self._deadline):
            try:
                return {n for n in os.listdir(self._layout.anonymous) if is_container_id(n)}
            except FileNotFoundError:
                return set()
