"""Opening a path of a request beneath the folders that the operator allows.

What is opened is what is used: the descriptor, never the path again, so that nobody can swap a
symbolic link between the check and the use.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longshore.errors import HostBusy, HostFailed, InvalidSpec, LongshoreError, PolicyForbids
from longshore.host.mounts import open_beneath


@dataclass(frozen=True)
class _Asked:
    """What errors tell."""

    source: Path
    roots: Sequence[Path]
    field: str
    verb: str
    missing: type[LongshoreError]
    rule: str


def open_allowed(
    source: Path,
    roots: Sequence[Path],
    field: str,
    *,
    verb: str = "mount",
    missing: type[LongshoreError] = InvalidSpec,
    rule: str = "volumes.roots",
) -> int:
    """An O_PATH descriptor of `source`; may hang as long as the file system there does.

    A symbolic link is followed while it stays beneath the same root. The roots themselves may
    be links, since the operator named them.

    Args:
        field: of the request, as errors name it.
        verb: what it is for: errors say 'cannot <verb> …'.
        missing: the error for what is not there.
        rule: the option that names the roots.

    Raises:
        PolicyForbids: beneath no root, or through a link out of it.
        missing: not there.
    """
    asked = _Asked(source, roots, field, verb, missing, rule)
    first: LongshoreError | None = None
    for root in roots:
        real = Path(os.path.realpath(root))
        for name in (root, real):
            if source.is_relative_to(name):
                try:
                    return _open(real, source.relative_to(name))
                except OSError as error:
                    first = first or _translated(error, asked)
                break
    raise first or _forbidden("it is beneath no allowed folder", asked)


def _open(root: Path, path: Path) -> int:
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            return open_beneath(folder, path)
        except OSError as error:
            # The kernel counts every absolute link as leading out. Where this one leads back
            # in, go there without links: what changes meanwhile is refused, never followed.
            real = Path(os.path.realpath(root / path))
            if error.errno != errno.EXDEV or not real.is_relative_to(root):
                raise
            return open_beneath(folder, real.relative_to(root), follow=False)
    finally:
        os.close(folder)


def _translated(error: OSError, asked: _Asked) -> LongshoreError:
    source, field = asked.source, asked.field
    match error.errno:
        case errno.EXDEV:
            return _forbidden("a symbolic link leads out of the allowed folders", asked)
        case errno.ELOOP:
            return _forbidden("it leads through a link that is not followed", asked)
        case errno.ENOENT | errno.ENOTDIR:
            why = "no such file or folder on this node"
            return asked.missing(
                f"cannot {asked.verb} {source}: {why}",
                field=field,
                object=str(source),
                details={"faults": [{"field": field, "why": f"{source}: {why}"}]},
            )
        case errno.EAGAIN | errno.EINVAL:  # EINVAL: readlink of what ceased to be a link
            return HostBusy(f"cannot {asked.verb} {source}: it is being moved", object=str(source))
        case _:
            return HostFailed(
                f"cannot {asked.verb} {source}: {error.strerror}", field=field, object=str(source)
            )


def _forbidden(why: str, asked: _Asked) -> PolicyForbids:
    source, roots, field = asked.source, asked.roots, asked.field
    return PolicyForbids(
        f"cannot {asked.verb} {source}: {why}",
        field=field,
        object=str(source),
        hint="allowed beneath " + ", ".join(map(str, roots))
        if roots
        else "this node's configuration allows no folder at all",
        details={
            "rule": asked.rule,
            "faults": [{"field": field, "why": f"{source}: {why}"}],
        },
    )
