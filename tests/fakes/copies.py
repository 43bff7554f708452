"""Files of containers, in memory."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longshore.errors import LongshoreError, PathNotFound
from longshore.model.copying import Files, Unpacking
from longshore.model.host import Ids
from longshore.model.names import Names
from longshore.model.status import Difference, PathStatus
from longshore.model.tar import Tar


@dataclass
class FakeCopies:
    """`there`: what is at which path of every container, all of it added; `failures`: of the
    next calls, one each; `seen`, `written`: what was asked for."""

    there: dict[str, bytes] = field(default_factory=dict)
    failures: list[LongshoreError] = field(default_factory=list)
    seen: list[Files] = field(default_factory=list)
    written: list[tuple[Files, str, bytes, Unpacking]] = field(default_factory=list)

    def read(
        self, files: Files, path: str, *, follow_link: bool
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        self.seen.append(files)
        self._fail()
        if path not in self.there:
            raise PathNotFound(f"cannot find {path}", object=path)
        data = self.there[path]

        def pieces() -> Generator[bytes, None, None]:
            yield data

        status = PathStatus(name=path[1:], size=len(data), mode=0o100644, modified_at=1.0)
        return status, pieces()

    def write(self, files: Files, path: str, tar: Path, how: Unpacking) -> int:
        self._fail()
        data, count = tar.read_bytes(), 0
        self.written.append((files, path, data, how))
        archive = Tar(io.BytesIO(data).read)
        for entry in archive:
            self.there[f"{path.rstrip('/')}/{entry.path}"] = b"".join(archive.content())
            count += 1
        return count

    def digest(self, tar: Path) -> str:
        return hashlib.sha256(tar.read_bytes()).hexdigest()

    def differences(self, names: Names, chain_id: str, ids: Ids | None) -> Sequence[Difference]:
        self._fail()
        return [Difference(path=path, kind="added") for path in sorted(self.there)]

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
