"""The messages, version 1.3: what may be in a request, and nothing else gets past here.

Pure: JSON types in, typed values out, and back. Unknown and missing keys, wrong types and
wrong words are refused with every fault and its field. A spec is checked by `model.spec.parse`,
what concerns images by `model.image_messages`.

    create          request_id spec [generation wait start credential]  → a container
    start           request_id ref  [generation wait]                   → a container
    stop            request_id ref  [generation wait grace]             → a container
    delete          request_id ref  [generation wait force]             → a container
    restart         request_id ref  [generation wait grace]             → a container
    kill            request_id ref  [generation wait signal]            → a container
    pause           request_id ref  [generation wait]                   → a container
    unpause         request_id ref  [generation wait]                   → a container
    rename          request_id ref name  [generation wait]              → a container
    update          request_id ref patch [generation wait apply]        → a container
    rollback        request_id ref  [generation wait version apply]     → a container
    rebuild         request_id ref image [generation wait policy auth]  → a container
    versions        ref                                                 → versions of its spec
    compare_versions ref before after                                   → what differs
    show            ref                                                 → a container
    list            [labels states names ids images health sort limit after] → containers
    wait            ref             [condition timeout]                 → a container
    prune_containers request_id [labels age]                            → what was deleted
    plan            ref patch                                           → what it would take
    load_image      path                                                → images
    list_images                                                         → images
    show_image      name                                                → an image, in full
    pull_image      name            [policy auth]                       → an image, once here
    prefetch_image  name            [policy auth]                       → a transfer, at once
    push_image      name to         [auth]                              → a transfer, once done
    save_images     names path                                          → {}
    tag_image       name new                                            → an image
    remove_image    name                                                → an image
    prune_images                    [all]                               → what was removed
    commit          ref name        [author message changes pause]      → an image
    node_status                                                         → the node
    fits            spec                                                → whether it would be taken
    explain         ref                                                 → its story, what is next
    events                          [after refs kinds timeout]          → changes, or none in time
    list_flavors                                                        → flavors
    create_volume   request_id name [labels]                            → a volume
    list_volumes                                                        → volumes
    show_volume     name                                                → a volume
    remove_volume   request_id name                                     → the volume that was
    stats                           [refs]                              → what each uses
    top             ref                                                 → its processes
    logs            ref  [tail since until max_bytes stream]            → its last lines
    execute         request_id ref command [with]                       → what came of it
    copy_out        ref path        [follow_link]                       → what it is, and its tar
    copy_in         request_id ref path tar [archive replace]           → how many entries it had
    diff            ref                                                 → what differs, by path

`with`: any of env, workdir, user, privileged, timeout and output_max. `tar` is one in base64, of at
most 256 KiB.

`credential` is {username, password} or {token}; `auth` is {credential} or {name}, one that the
node has configured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field

from longshore.errors import InvalidRequest, MessageTooLarge
from longshore.model import copy_messages as copies
from longshore.model import exec_messages as execs
from longshore.model import image_messages as images
from longshore.model import log_messages as logs
from longshore.model import message as messages
from longshore.model import operation_messages as operations
from longshore.model import spec as specs
from longshore.model import stats_messages as stats
from longshore.model import story_messages as stories
from longshore.model import upkeep_messages as upkeep
from longshore.model import version_messages as versions
from longshore.model import volume_messages as volumes
from longshore.model.message import Message, Path, Ref
from longshore.model.request import (
    Request,
    Verb,
    goal_of,
)
from longshore.model.status import Value
from longshore.model.transfer import Credential

#: A new verb or optional key raises the minor number, anything else the major one.
VERSION = "1.3"
T = TypeVar("T")


Intent = operations.Intent


class Create(Intent):
    verb = "create"
    newer: ClassVar[Mapping[str, str]] = {"credential": "1.1"}
    spec: dict[str, Any]
    start: bool = True
    credential: images.CredentialGiven | None = None

    @property
    def goal(self) -> str:
        return goal_of(Verb.CREATE, start=self.start)


class Start(Intent):
    verb = "start"
    ref: Ref


class Stop(Intent):
    """`grace`: seconds between the stop signal and SIGKILL; None: the spec's."""

    verb = "stop"
    ref: Ref
    grace: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] | None = None


class Delete(Intent):
    verb = "delete"
    ref: Ref
    force: bool = False


class Show(Message):
    verb = "show"
    ref: Ref


class LoadImage(Message):
    """`path` of an archive on the node."""

    verb = "load_image"
    path: Path


class ListImages(Message):
    verb = "list_images"


class ShowNode(Message):
    verb = "node_status"


MESSAGES: Mapping[str, type[Message]] = {
    one.verb: one
    for one in (
        *(Create, Start, Stop, Delete),
        *(Show, LoadImage, ListImages, ShowNode),
        *(upkeep.ListContainers, upkeep.WaitFor, upkeep.PruneContainers, upkeep.PlanChange),
        *(operations.Restart, operations.Kill, operations.Pause, operations.Unpause),
        operations.Rename,
        *(versions.Update, versions.Rollback, versions.Rebuild),
        *(versions.ListVersions, versions.CompareVersions),
        *(images.ShowImage, images.PullImage, images.PrefetchImage, images.PushImage),
        *(images.SaveImages, images.TagImage, images.RemoveImage, images.PruneImages),
        images.CommitContainer,
        *(volumes.Fits, volumes.ListFlavors, volumes.CreateVolume, volumes.ListVolumes),
        *(volumes.ShowVolume, volumes.RemoveVolume),
        *(stats.Stats, stats.Top),
        *(stories.Explain, stories.Events),
        logs.Logs,
        execs.Execute,
        *(copies.CopyOut, copies.CopyIn, copies.Diff),
    )
}


def version_for(verb: str, message: Mapping[str, Any]) -> str:
    """The oldest version that knows all of it: an agent of an older release than its caller is
    asked what it understands. What is new in a spec it refuses by the field's name."""
    kind = MESSAGES.get(verb)
    if kind is None:
        return VERSION
    since = [kind.since, *(kind.newer[key] for key in message if key in kind.newer)]
    return max(since, key=_numbers)


M = TypeVar("M", bound=Message)


def decode(kind: type[M], message: Mapping[str, Any]) -> M:
    """The message as `kind`.

    Raises:
        InvalidRequest: `field` names the first fault, `details['faults']` has all.
    """
    return messages.decode(kind, message, "wait" if issubclass(kind, Intent) else "message")


def decode_create(
    message: Mapping[str, Any], origin: str
) -> tuple[Request, specs.ContainerSpec, bool, Credential | None]:
    """Request, spec, whether to start it, and the credential for its image.

    Raises:
        InvalidRequest, InvalidSpec: the latter with every fault of the spec.
    """
    asked = decode(Create, message)
    spec = specs.parse(asked.spec)
    given = images.beside(spec, asked.credential.value if asked.credential else None)
    return asked.request(origin), spec, asked.start, given


def check_size(message: Mapping[str, Any], limit: int) -> None:
    """Raises MessageTooLarge above `limit` bytes of JSON."""
    size = len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())
    if size > limit:
        raise MessageTooLarge(
            f"cannot accept a message of {size} bytes: the node's limit is {limit}",
            hint="keep large values in a file on a volume",
            details={"size": size, "limit": limit},
        )


def check_envelope(envelope: Mapping[str, Any], monitor: Any) -> None:
    """What oslo.messaging takes for granted, and a stranger's message need not have.

    Args:
        envelope: method, args, version, namespace.
        monitor: the caller's call_monitor_timeout in seconds, or None.

    Raises:
        InvalidRequest: with `field`.
    """
    verb, version = envelope.get("method"), envelope.get("version", VERSION)
    arguments = envelope.get("args", {})
    faults = {
        "method": not isinstance(verb, str) or verb not in MESSAGES,
        "version": not _compatible(version),
        "namespace": envelope.get("namespace") is not None,
        "args": not isinstance(arguments, dict),
        "_timeout": monitor is not None and type(monitor) not in (int, float),
    }
    if not any(faults.values()):
        return
    field = next(name for name, wrong in faults.items() if wrong)
    # Arguments are not quoted: they may hold a password.
    given = {**envelope, "args": type(arguments).__name__, "_timeout": monitor}.get(field)
    hints = {
        "method": f"verbs: {', '.join(MESSAGES)}",
        "version": f"this agent speaks {VERSION}",
        "args": "args must be an object",
    }
    raise InvalidRequest(
        f"cannot accept the message: {field} {str(given)[:64]!r} is not known here",
        field=field,
        hint=hints.get(field),
    )


def _compatible(version: Any) -> bool:
    """The same major number, and no newer minor one."""
    try:
        major, minor = _numbers(version)
    except (AttributeError, ValueError):
        return False
    ours = _numbers(VERSION)
    return major == ours[0] and 0 <= minor <= ours[1]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def encode(value: Value | Sequence[Value] | None) -> dict[str, Any] | list[dict[str, Any]]:
    """A reply: JSON types only."""
    if value is None:
        return {}
    return value.to_dict() if isinstance(value, Value) else [one.to_dict() for one in value]
