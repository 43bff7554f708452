"""The versions of a container's spec: the one that is in use, one that is on trial or waits for the
next start, and those before."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from longshore.model.host import Ids, Image, Nic, PublishedPort
from longshore.model.limits import Limits
from longshore.model.spec import ContainerSpec

#: How many of a container the journal keeps, beside those that it still needs.
KEPT = 10


class Remake(StrEnum):
    """What of a container is made anew at its next start, beside what each start makes."""

    NOTHING = "nothing"
    #: What its create made, around the writable layer.
    PREPARE = "prepare"
    #: That, and the layer: of another image.
    LAYER = "layer"


_ORDER = tuple(Remake)


def most(*remakes: Remake) -> Remake:
    return max(remakes, key=_ORDER.index)


class Version(BaseModel):
    """One spec that a container has, had, or is to have. Times are Unix seconds.

    Args:
        spec: without the values of its secrets and the content of its files.
        sealed: as the record's. `contents`: of its files, one each.
        by: who asked for it.
        taken_back: why it is not in use: it was tried.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    spec: ContainerSpec
    sealed: Mapping[str, str] = {}
    contents: tuple[str, ...] = ()
    at: float
    by: str
    taken_back: str | None = None


class Held(BaseModel):
    """A version that a container may come to have, and what the node keeps for it until then.

    Args:
        remake: what taking it up takes. `image`: the one to be made of, None: the one that it is.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    nics: tuple[Nic, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    ids: Ids | None = None
    remake: Remake = Remake.NOTHING
    image: Image | None = None


class Trial(BaseModel):
    """The version in the record has not shown yet that it is any good.

    Args:
        previous: what comes back if it is not.
        live: it needs no other process: the limits that come back, if the kernel does not take
            its own. None: it is judged by how it starts and runs.
        until: when it is taken for good or, with a health check, for bad. None: it has not been
            started, or not been told to the kernel.
        failed: `LongshoreError.to_dict` of why it was not; `previous` is in the record then, and
            what is left is to start that.
    """

    model_config = ConfigDict(frozen=True)

    previous: Held
    live: Limits | None = None
    until: float | None = None
    failed: dict[str, Any] | None = None
