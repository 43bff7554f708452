"""What the private neighbours have in common: to be entered is to run, to be left is to be gone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self


class Neighbour:
    """Of a `with`: stopped at its end, and its data removed; its log stays."""

    def start(self) -> None:
        """Returns once it answers. Running already is fine."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends it; one that does not run is fine."""
        raise NotImplementedError

    def data(self) -> Iterable[Path]:
        """Files and folders that are worth nothing once it has stopped for good."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for path in self.data():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
