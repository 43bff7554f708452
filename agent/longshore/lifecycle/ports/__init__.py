"""What lifecycle needs of the host, stated by the one who needs it.

wiring.py passes the real neighbours (host/), tests pass fakes that pass the same contract
tests. Rules for all of them:

- every call ends: it has a deadline of its own and raises DeadlineExceeded, which means
  'unknown', never 'done';
- errors are longshore.errors, translated where they arise;
- making is idempotent: making what is there already succeeds;
- removing is safe when nothing was ever made, and removes nothing that was not made here;
- `owned()` names the container ids that something on the host still belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore.lifecycle.ports.images import Images, ImageSources, Naming
from longshore.lifecycle.ports.journal import Journal, Transaction
from longshore.lifecycle.ports.network import Network
from longshore.lifecycle.ports.running import (
    Cgroups,
    ContainerRecords,
    Disks,
    Rootfs,
    Tasks,
    UserNamespaces,
)
from longshore.lifecycle.ports.storage import Data, Files, NamedVolumes, Secrets, Volumes
from longshore.model.host import Ids, ImageConfig, User
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec

__all__ = [
    "Cgroups",
    "ContainerRecords",
    "Data",
    "Disks",
    "Files",
    "Host",
    "ImageSources",
    "Images",
    "Journal",
    "NamedVolumes",
    "Naming",
    "Network",
    "Rootfs",
    "Secrets",
    "Tasks",
    "Transaction",
    "UserNamespaces",
    "Volumes",
]


@dataclass(frozen=True)
class Host:
    """All neighbours that steps act on. `oci` makes the OCI runtime spec, and is pure."""

    layout: Layout
    images: Images
    rootfs: Rootfs
    records: ContainerRecords
    tasks: Tasks
    network: Network
    volumes: Volumes
    named: NamedVolumes
    data: Data
    disks: Disks
    secrets: Secrets
    users: UserNamespaces
    files: Files
    cgroups: Cgroups
    oci: Callable[[ContainerSpec, Names, ImageConfig, User, Ids | None], Mapping[str, Any]]
