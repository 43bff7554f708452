"""What a container sees beside its image: volumes, files, secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from longshore.model.host import (
    Ids,
    Image,
)
from longshore.model.injected import File, Secret
from longshore.model.mounts import Mount
from longshore.model.names import Names
from longshore.model.record import Facts
from longshore.model.spec import ContainerSpec


class Volumes(Protocol):
    def check(self, mounts: Sequence[Mount], *, mapped: bool = False) -> None:
        """Raises PolicyForbids or InvalidSpec, with the fields. `mapped`: for a container with a
        user namespace, of which this node is capable."""

    def mount(self, names: Names, mounts: Sequence[Mount], ids: Ids | None = None) -> None:
        """Resolves each bind source again, beneath its root, makes it if the mount says so, and
        binds it to Layout.volume, as well as named and borrowed volumes. With `ids`, files in
        them belong to the container's numbers: its namespace is there, at Layout.userns.

        A tmpfs has nothing to do here: the runtime mounts it.
        """

    def unmount(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...


class Data(Protocol):
    """Anonymous volumes: what an image declares, filled from it, deleted with the container."""

    def fill(self, names: Names, image: Image, mounts: Sequence[Mount]) -> None:
        """Makes one folder for each of the image's volumes that no mount of the spec covers, with
        what the image has there; `Layout.data` names it. One that is complete stays as it is.
        """

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...


class NamedVolumes(Protocol):
    """The folders of the node's named volumes. Which there are, the journal says."""

    def make(self, name: str) -> None:
        """One that is there is fine."""

    def fill(self, name: str, names: Names, target: str | None) -> None:
        """Copies what the container's snapshot has at `target` into a volume that is empty and
        was never filled, and makes one that is not there. None: it stays empty. Either way it is
        not filled again."""

    def put_aside(self, name: str) -> None:
        """At once: its name is free. Its content is still there, and nobody's."""

    def clear(self, name: str) -> bool:
        """Removes what was put aside under that name; calling again goes on. Whether there was
        anything. Of one name at a time."""

    def aside(self) -> set[str]:
        """Names under which something was put aside."""

    def list(self) -> set[str]:
        """Names of those that are there."""


class Secrets(Protocol):
    """Files that exist in memory alone, for as long as the container runs."""

    def check(self, secrets: Sequence[Secret]) -> None:
        """Raises SecretNotFound, InvalidSpec, with the field: it is not here; too large."""

    def mark(self, secrets: Sequence[Secret]) -> Mapping[str, str]:
        """Name → what is the same for the same value alone, and says nothing of it to who does not
        have the node's key; of those that came with a value."""

    def seal(self, names: Names, secrets: Sequence[Secret]) -> Mapping[str, str]:
        """Name → its value, encrypted for this container alone, of those that came with a value."""

    def write(
        self, names: Names, secrets: Sequence[Secret], sealed: Mapping[str, str], ids: Ids | None
    ) -> None:
        """To `Layout.secret`; those of a container that runs stay as they are. Raises
        SecretNotFound, InvalidSpec, Exhausted, HostFailed."""

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...


class Files(Protocol):
    def check(self, spec: ContainerSpec) -> None:
        """Raises InvalidSpec for what this node has not (a time zone)."""

    def write(self, names: Names, spec: ContainerSpec, facts: Facts) -> None:
        """Log files, the managed ones of /etc, and, once, those of the request and of its key pair;
        never truncates a log. Raises InvalidSpec, also as `check`, and StartFailed."""

    def contents(self, names: Names, files: Sequence[File]) -> tuple[str, ...]:
        """Of the request's files, as they were asked for, one each. Raises HostFailed."""

    def forget(self, names: Names) -> None:
        """Removes all but the logs: it is written anew. Raises HostFailed."""

    def show(self, names: Names) -> None:
        """Copies of all but the logs, for the container to see and to change (`Layout.shown`);
        those of a container that runs stay as they are."""

    def unshow(self, names: Names) -> None: ...

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...
