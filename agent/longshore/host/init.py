"""The node's init for containers: which program, and whether it can run in any image."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from longshore.errors import InvalidSpec
from longshore.model.init import INITS
from longshore.model.spec import ContainerSpec

_AUTO = "auto"
_HINT = "install catatonit or tini on the node, or name one in [containers] init"
#: elf(5): the program header that names a dynamic linker; 64 and 32 bit, little and big endian.
_PT_INTERP = 3
_EI_CLASS, _EI_DATA = 4, 5


class Init:
    """Looks each time: a package that is installed meanwhile is good at once.

    Args:
        configured: a path, or `auto` for the first of `known` that is there.
    """

    def __init__(self, configured: str = _AUTO, known: Sequence[str] = INITS) -> None:
        self._paths = tuple(known) if configured == _AUTO else (configured,)

    def path(self) -> str | None:
        """None: there is none that could be used."""
        return next((path for path in self._paths if _why_not(path) is None), None)

    def lack(self) -> str | None:
        """Why containers can have none, None if they can."""
        if self.path() is not None:
            return None
        reasons = [(path, _why_not(path)) for path in self._paths]
        told = [f"{path} {why}" for path, why in reasons if os.path.exists(path)]
        return "; ".join(told) or f"the node has no {' or '.join(self._paths)}"

    def check(self, spec: ContainerSpec) -> None:
        """Raises InvalidSpec if the spec asks for an init, and the node has none."""
        why = self.lack() if spec.init else None
        if why is not None:
            raise InvalidSpec(
                f"cannot create container {spec.name}: init: {why}",
                field="init",
                object=spec.name,
                hint=_HINT,
                details={"faults": [{"field": "init", "why": why}]},
            )


def _why_not(path: str) -> str | None:
    try:
        if not os.access(path, os.X_OK):
            return "cannot be executed" if os.path.exists(path) else "is not there"
        if not _is_static(Path(path).read_bytes()):
            return "is not static: it would need libraries that are not in an image"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (struct.error, IndexError, KeyError):
        return "is no ELF program"
    return None


def _is_static(program: bytes) -> bool:
    """Raises struct.error, IndexError or KeyError for what is no ELF program."""
    if program[:4] != b"\x7fELF":
        raise KeyError("magic")
    order = {1: "<", 2: ">"}[program[_EI_DATA]]
    # Offset of the program headers, size of one, and how many.
    at, size, count = {
        1: lambda: _read(order, program, ("I", 28), ("H", 42), ("H", 44)),
        2: lambda: _read(order, program, ("Q", 32), ("H", 54), ("H", 56)),
    }[program[_EI_CLASS]]()
    return _PT_INTERP not in (
        _read(order, program, ("I", at + number * size))[0] for number in range(count)
    )


def _read(order: str, program: bytes, *fields: tuple[str, int]) -> tuple[int, ...]:
    return tuple(struct.unpack_from(order + kind, program, at)[0] for kind, at in fields)
