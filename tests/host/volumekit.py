"""Volumes on the real kernel: an allowed root, something secret beside it, and own mounts."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from host.fusekit import mount_fuse
from longshore.host.mountinfo import mount_points
from longshore.host.volumes import Volumes
from longshore.model.layout import Layout
from longshore.model.mounts import Bind
from longshore.model.names import Names


class Host:
    """A root with two volumes and something secret beside it; mounts made here go at the end."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.root = folder / "srv"
        self.secret = folder / "secret"
        for path in (self.root / "a", self.root / "b", self.secret):
            path.mkdir(parents=True)
            (path / "file").write_text(path.name)
        self.layout = Layout(folder / "state", folder / "run")
        self.volumes = Volumes(self.layout, lambda: [self.root], deadline=5)
        self.names = Names(str(uuid4()))
        self._stack = stack

    def bind(self, name: str, **options: object) -> Bind:
        return Bind.model_validate(
            {"source": str(self.root / name), "target": f"/{uuid4()}", **options}
        )

    def at(self, index: int = 0) -> Path:
        return self.layout.volume(self.names, index)

    def mounted(self) -> list[str]:
        """The mounts below run/, in order."""
        run = self.layout.run_dir
        return [
            str(one.path.relative_to(run)) for one in mount_points() if one.path.is_relative_to(run)
        ]

    def mount(self, *args: str, at: Path) -> None:
        subprocess.run(["mount", *args, str(at)], check=True)
        self._stack.callback(subprocess.run, ["umount", "-l", str(at)], stderr=subprocess.DEVNULL)

    def hang(self, at: Path) -> int:
        """Mounts a FUSE file system whose server never answers; its descriptor."""
        fd = mount_fuse(at)
        self._stack.callback(subprocess.run, ["umount", "-l", str(at)], stderr=subprocess.DEVNULL)
        return fd
