"""What a container with a user namespace has written, seen with the container's own numbers.

On the node its files belong to numbers of its range (host/userns.py); an image of them must not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from longshore.host.idmap import hide, show
from longshore.host.namespaces import node_map, user_namespace
from longshore.model.host import Ids


def ids_of(spec: Mapping[str, Any]) -> Ids | None:
    """Its range, as the OCI spec has it; None: it has no user namespace."""
    maps = spec.get("linux", {}).get("uidMappings")
    return Ids(maps[0]["hostID"], maps[0]["size"]) if maps else None


@contextmanager
def as_inside(upper: str, ids: Ids | None, place: Path) -> Iterator[str]:
    """The container's own layer (`upper`) with the container's numbers, until the end of the body.

    Args:
        place: a folder that is the container's, for a mount; made if it is not there.

    Raises:
        HostUnavailable, HostFailed, DeadlineExceeded: as they say.
        OSError: as it says.
    """
    # Until its first start a layer belongs to no range, and there is nothing in it.
    if ids is None or not ids.covers(Path(upper).stat().st_uid):
        yield upper
        return
    target = place / f"commit-{uuid4()}"
    target.mkdir(mode=0o700, parents=True)
    try:
        with user_namespace(node_map(ids)) as file:
            show(Path(upper), target, file)
        yield str(target)
    finally:
        hide(target)
        with suppress(OSError):  # It has more in it while the container runs.
            place.rmdir()
