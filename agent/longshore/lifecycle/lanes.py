"""How many calls of each kind a front door lets in at once.

Lanes keep calls of one kind from starving the others: sixteen creates that hang leave room to
delete them, to list, and always for the node's status; stops with a long grace leave room for
deletes, which cut it short; and what waits for an image to come leaves room for what starts from
images that are here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from longshore.errors import AgentBusy, ImageNotFound, LongshoreError
from longshore.lifecycle.service import Service
from longshore.model.spec import ContainerSpec
from longshore.model.transfer import PullPolicy

BEGIN, CHANGE, PULL = "begin", "change", "pull"

#: Lane → its verbs. Creates, starts and rebuilds go over to `pull` when they will have to wait
#: there.
LANES: Mapping[str, tuple[str, ...]] = {
    BEGIN: ("create", "start"),
    "stop": ("stop", "restart"),
    # For as long as a new version is on trial.
    CHANGE: ("update", "rollback", "rebuild"),
    # What takes a moment, and must get through while the others wait.
    "signal": ("kill", "pause", "unpause", "rename"),
    "delete": ("delete",),
    PULL: ("pull_image",),
    "image": ("load_image", "push_image", "save_images", "commit"),
    "tend": (
        *("prefetch_image", "tag_image", "remove_image", "prune_images"),
        *("create_volume", "remove_volume", "prune_containers"),
    ),
    "read": (
        *("show", "explain", "list", "list_images", "show_image"),
        *("list_flavors", "list_volumes", "show_volume", "versions", "compare_versions"),
    ),
    # One reading at a time; who comes meanwhile waits for it.
    "stats": ("stats", "top"),
    # They ask containerd and the file systems of bind sources, which may hang.
    "fits": ("fits", "plan"),
    "wait": ("wait",),
    # Each waits up to a minute.
    "events": ("events",),
    # It may have to look through all that a container wrote.
    "logs": ("logs",),
    # For as long as its commands take.
    "exec": ("execute",),
    # They move as much as there is, and may hang where a container's mounts do.
    "copy": ("copy_out", "copy_in", "diff"),
    "status": ("node_status",),
}
_OF: Mapping[str, str] = {verb: lane for lane, verbs in LANES.items() for verb in verbs}


def sizes(workers: int) -> dict[str, int]:
    """How many calls of each lane may be at work at once; threads come only as they are needed."""
    return {
        BEGIN: workers,
        "stop": max(2, workers // 2),
        CHANGE: max(8, 2 * workers),
        "signal": max(4, workers // 2),
        "delete": workers,
        PULL: max(8, 4 * workers),
        "image": max(2, workers // 4),
        "tend": max(4, workers // 4),
        "read": 8,
        "exec": max(4, workers),
        "copy": max(4, workers // 2),
        "fits": 4,
        "stats": 4,
        "wait": max(16, 4 * workers),
        "events": 8,
        "logs": 4,
        "status": 4,
    }


class Lanes:
    """Thread-safe."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = dict(sizes)
        self._free = {name: threading.BoundedSemaphore(size) for name, size in sizes.items()}

    @contextmanager
    def entering(self, verb: str, lane: str | None = None) -> Iterator[Place]:
        """A place for one call of the verb, in its own lane or in this one.

        Raises:
            AgentBusy: at once, where the lane is full.
        """
        place = Place(self, verb, lane or _OF[verb])
        try:
            yield place
        finally:
            place.leave()

    def take(self, verb: str, lane: str) -> None:
        if not self._free[lane].acquire(blocking=False):
            raise AgentBusy(
                f"cannot {verb}: {self._sizes[lane]} calls of its kind are at work",
                hint="nothing was done; send the same request again in a moment",
                details={"lane": lane, "limit": self._sizes[lane]},
            )

    def give(self, lane: str) -> None:
        self._free[lane].release()


class Place:
    """One call's place in a lane, for the thread that serves it."""

    def __init__(self, lanes: Lanes, verb: str, lane: str) -> None:
        lanes.take(verb, lane)
        self._lanes, self._verb, self._lane = lanes, verb, lane

    def move(self, lane: str) -> None:
        """Goes over to another lane. Raises AgentBusy where that one is full."""
        if lane != self._lane:
            self._lanes.take(self._verb, lane)
            self._lanes.give(self._lane)
            self._lane = lane

    def leave(self) -> None:
        self._lanes.give(self._lane)


def of_create(service: Service, spec: ContainerSpec) -> str:
    """Ask it from a place in `begin`, since it may ask containerd, which may be stuck."""
    try:
        return BEGIN if service.is_ready(spec) else PULL
    except LongshoreError:
        return BEGIN  # `create` says what is wrong, unless it has been answered long ago


def of_start(service: Service, ref: str) -> str:
    """The lane for a start: its container's create may still wait for the image."""
    try:
        return PULL if service.show(ref).image_digest is None else BEGIN
    except LongshoreError:
        return BEGIN  # as above


def of_rebuild(service: Service, image: str, policy: PullPolicy) -> str:
    """The lane for a rebuild: its image may have to come first. Ask it from a place, too."""
    if policy is PullPolicy.ALWAYS:
        return PULL
    try:
        service.show_image(image)
    except ImageNotFound:
        return CHANGE if policy is PullPolicy.NEVER else PULL
    except LongshoreError:
        return CHANGE  # as above
    return CHANGE
