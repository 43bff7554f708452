"""Build hook: generates longshore.pb from protos/, so that no generated file is kept in git."""

from __future__ import annotations

import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_GENERATED = '"""Generated from protos/; see agent/hatch_build.py."""'


def generate(root: Path) -> list[Path]:
    """Writes agent/longshore/pb anew and returns its files.

    protoc names Python modules by the path under which it sees a file; mapping protos/ to
    longshore/pb makes the generated imports absolute and right without editing any output.
    """
    from grpc_tools import protoc  # only in the isolated build environment

    out = root / "agent" / "longshore" / "pb"
    shutil.rmtree(out, ignore_errors=True)
    sources = sorted((root / "protos").rglob("*.proto"))
    well_known = resources.files("grpc_tools") / "_proto"
    google_rpc = next(
        Path(entry) for entry in sys.path if (Path(entry) / "google/rpc/status.proto").is_file()
    )
    arguments = [
        "protoc",
        f"-Ilongshore/pb={root / 'protos'}",
        f"-I{well_known}",
        f"-I{google_rpc}",
        f"--python_out={root / 'agent'}",
        f"--pyi_out={root / 'agent'}",
        f"--grpc_python_out={root / 'agent'}",
        *(f"longshore/pb/{path.relative_to(root / 'protos')}" for path in sources),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("cannot generate longshore.pb: protoc failed, see above")
    for folder in [out, *(path for path in out.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text(
            '"""Generated from protos/; see agent/hatch_build.py."""\n'
        )
    return sorted(out.rglob("*.py"))


class StubsHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data
        if (Path(self.root) / "protos").is_dir():
            generate(Path(self.root))


if __name__ == "__main__":
    generate(Path(__file__).resolve().parent.parent)
