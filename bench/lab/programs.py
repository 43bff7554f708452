"""Programs of this host as a layer of an image: each with the libraries that it is linked with."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

#: `name => /path (address)`, and the loader, which has a path alone.
_LIBRARY = re.compile(r"(?:=>|^)\s*(/\S+) \(0x", re.MULTILINE)


def programs_layer(programs: Iterable[Path]) -> bytes:
    """A tar with each program at its own path, and its libraries where its loader looks."""
    files = {file for program in programs for file in (program, *_libraries(program))}
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in sorted(files):
            content = file.read_bytes()
            entry = tarfile.TarInfo(str(file).lstrip("/"))
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return memory.getvalue()


def _libraries(program: Path) -> list[Path]:
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, timeout=10)
    return [Path(name) for name in _LIBRARY.findall(listed.stdout.decode())]
