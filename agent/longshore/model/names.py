"""Names of everything made on the host, from the container's id alone.

Because nothing else goes into a name, undoing needs no memory and works after the process
died, and a sweep can tell ours from others'.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

_LEASE = "create-"
CGROUP_PARENT = "longshore"
#: What may be an nft table's name, as a regular expression; nft itself takes no dash.
NFT_TABLE = r"[a-zA-Z][a-zA-Z0-9_]{0,63}"
#: IFNAMSIZ leaves 15 characters; 12 hex digits make a clash one in 2**48 per pair, and the
#: journal claims the name as UNIQUE so that even this is refused and never shared.
_VETH = "lsh"


@dataclass(frozen=True)
class Names:
    """The names that belong to one container id (a canonical lower-case uuid)."""

    id: str

    @property
    def snapshot(self) -> str:
        """Key of the active snapshot, and of the containerd container and task."""
        return self.id

    @property
    def lease(self) -> str:
        return _LEASE + self.id

    @property
    def veth(self) -> str:
        """The host's end of the veth pair."""
        return _VETH + self.id.replace("-", "")[-12:]

    @property
    def cgroup(self) -> str:
        """Path below each controller's root; the parent holds all of ours."""
        return f"{CGROUP_PARENT}/{self.id}"

    @property
    def mac(self) -> str:
        """A locally administered unicast address; stable, so that neighbours' caches stay right."""
        tail = self.id.replace("-", "")[-10:]
        return ":".join(["02", *(tail[i : i + 2] for i in range(0, 10, 2))])


def container_of_lease(lease: str) -> str | None:
    """The container id that a lease's name says, None for a lease that is not ours."""
    return lease.removeprefix(_LEASE) if lease.startswith(_LEASE) else None


def is_veth(name: str) -> bool:
    return re.fullmatch(_VETH + "[0-9a-f]{12}", name) is not None


def is_container_id(text: str) -> bool:
    """Whether `text` is a uuid in its canonical form: file names on the host are made of it."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
