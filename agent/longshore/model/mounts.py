"""What a container sees beside its image's files: folders of the node, volumes, memory."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from longshore.model.values import AbsolutePath, Id, Mode, Name, Part, fault

Propagation = Literal["private", "rprivate", "slave", "rslave", "shared", "rshared"]


class NewFolder(Part):
    """Whose a bind source becomes that is not there yet, and with what mode."""

    uid: Id = 0
    gid: Id = 0
    mode: Mode = 0o755


class Bind(Part):
    """A folder or file of the node, under one of its allowed roots, seen at `target`.

    Args:
        recursive: what of the mounts beneath the source. enabled: they are seen too, and as
            read-only as this one; writable: they are seen, and stay as they are; disabled: they
            are not seen.
        create: makes the source, a folder, if it is not there, and the folders above it; they
            stay when the container goes, as their content does. None: it must be there.
    """

    type: Literal["bind"] = "bind"
    source: AbsolutePath
    target: AbsolutePath
    read_only: bool = False
    propagation: Propagation = "rprivate"
    recursive: Literal["enabled", "writable", "disabled"] = "enabled"
    create: NewFolder | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.recursive == "writable" and not self.read_only:
            raise fault("recursive", "writable is for a mount that is read_only")
        return self


class Tmpfs(Part):
    """Memory-backed and empty at each start; counts against the container's memory limit.

    `executable`: whether programs may be run from it.
    """

    type: Literal["tmpfs"] = "tmpfs"
    target: AbsolutePath
    size: Annotated[int, Field(ge=4096, le=2**50)]
    mode: Mode = 0o1777
    executable: bool = False


class NamedVolume(Part):
    """A volume of the node, made if it is not there. It stays when the container goes.

    Args:
        name: None: an anonymous one, which is the container's own and goes with it.
        copy_image: whether one that is empty is filled with what the image has at `target`.
    """

    type: Literal["volume"] = "volume"
    name: Name | None = None
    target: AbsolutePath
    read_only: bool = False
    copy_image: bool = True


class Borrowed(Part):
    """Anonymous volume number `index` of a container, another: what `volumes_from` comes to.

    Never asked for as such.
    """

    type: Literal["borrowed"] = "borrowed"
    container: str
    index: int
    target: AbsolutePath
    read_only: bool = False


Mount = Annotated[Bind | Tmpfs | NamedVolume | Borrowed, Field(discriminator="type")]


class VolumesFrom(Part):
    """The folders and volumes of another container of the node, but for those at targets that have
    something already. What it has in memory alone is its own.

    `container`: its id or name.
    """

    container: Annotated[str, Field(min_length=1, max_length=64)]
    read_only: bool = False
