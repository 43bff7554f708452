"""Every error that a caller of Longshore can see, with a stable code.

    LongshoreError
    ├── InvalidRequest        the request itself is wrong; the same request never works
    │   ├── InvalidSpec         one or more fields of a spec, all listed in `faults`
    │   ├── MessageTooLarge
    │   └── PolicyForbids       well formed, and this node's policy says no
    ├── NotFound              the object named is not here
    │   ├── ContainerNotFound
    │   ├── ImageNotFound
    │   ├── VolumeNotFound
    │   ├── SecretNotFound      the node has no such secret, or has it no more
    │   └── PathNotFound        the container has no such file
    ├── Conflict              it clashes with what is here now
    │   ├── ContainerExists
    │   ├── NameInUse
    │   ├── AddressInUse
    │   ├── PortInUse
    │   ├── RequestConflict     a request id used before, for something else
    │   ├── StaleGeneration     an older intent than the one recorded
    │   ├── IllegalTransition   not possible in the container's present state
    │   ├── Superseded          a newer request overtook this one
    │   ├── VolumeExists        with other labels
    │   ├── VolumeInUse         by the containers in `details['containers']`
    │   ├── ImageInUse          by the containers in `details['containers']`
    │   └── PullCancelled       nobody waits for the image any more
    ├── Exhausted             a pool or a capacity of this node has nothing left
    ├── StartFailed           the host refused the container; the container is at fault
    │   ├── CommandNotFound
    │   ├── LimitNotApplied
    │   ├── UpdateTakenBack     its new version is; it has the one before again
    │   └── BadImage
    ├── HostFailed            a neighbour (containerd, the kernel, the disk) failed
    │   ├── HostUnavailable     it could not be reached, or is too old or missing a feature
    │   ├── HostBusy            it is in use just now; the same call may work soon
    │   └── DeadlineExceeded    unknown outcome: it may still happen
    ├── ImageSourceFailed     a registry or Glance answered, and not as it should
    │   ├── ImageSourceDenied       it knows no such credentials, or they may not do this
    │   └── ImageSourceUnavailable  no answer, or a wish to be left alone for now
    ├── Interrupted           the agent stops; its next start goes on with what is journalled
    ├── AgentBusy             too many requests in flight; nothing was done
    ├── NodeUnreachable       no agent listens under that node's name (client side)
    └── BrokerUnavailable     the message queue did not answer (client side)

The module path and the class names cross the wire (oslo.messaging rebuilds a remote
exception from them), so they are public API; so are the codes, which never change once
released. `retry` says whether the *same* request, sent again, may succeed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class LongshoreError(Exception):
    """'cannot X: why', with a code for programs and a hint for people.

    Args:
        message: one line, begins with what could not be done.
        field: path of the request's field at fault (`limits.memory`), if one is.
        object: name of the object at fault (a container, an image, a port), if one is.
        hint: what the caller can do about it, if known.
        details: further machine-readable facts, JSON values only.
    """

    code: ClassVar[str] = "internal"
    retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        field: str | None = None,
        object: str | None = None,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.object = object
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    @property
    def kwargs(self) -> dict[str, Any]:
        """What oslo.messaging sends beside `args` to rebuild the error at the caller."""
        return {
            "field": self.field,
            "object": self.object,
            "hint": self.hint,
            "details": self.details,
        }

    def to_dict(self) -> dict[str, Any]:
        """The error as one JSON object, as journalled and as printed by `-o json`."""
        return {
            "code": self.code,
            "error": type(self).__name__,
            "message": self.message,
            "retry": self.retry,
            **self.kwargs,
        }

    def __str__(self) -> str:
        return self.message


class InvalidRequest(LongshoreError):
    code = "invalid_request"


class InvalidSpec(InvalidRequest):
    """All faults of a spec at once; `faults` is a list of {field, why}."""

    code = "invalid_spec"

    @property
    def faults(self) -> Sequence[Mapping[str, str]]:
        faults: Sequence[Mapping[str, str]] = self.details.get("faults", [])
        return faults


class MessageTooLarge(InvalidRequest):
    code = "message_too_large"


class PolicyForbids(InvalidRequest):
    code = "policy_forbids"


class NotFound(LongshoreError):
    code = "not_found"


class ContainerNotFound(NotFound):
    code = "container_not_found"


class ImageNotFound(NotFound):
    code = "image_not_found"


class VolumeNotFound(NotFound):
    code = "volume_not_found"


class SecretNotFound(NotFound):
    code = "secret_not_found"


class PathNotFound(NotFound):
    code = "path_not_found"


class Conflict(LongshoreError):
    code = "conflict"


class ContainerExists(Conflict):
    code = "container_exists"


class NameInUse(Conflict):
    code = "name_in_use"


class AddressInUse(Conflict):
    code = "address_in_use"


class PortInUse(Conflict):
    code = "port_in_use"


class RequestConflict(Conflict):
    code = "request_conflict"


class StaleGeneration(Conflict):
    code = "stale_generation"


class IllegalTransition(Conflict):
    code = "illegal_transition"


class Superseded(Conflict):
    code = "superseded"


class VolumeExists(Conflict):
    code = "volume_exists"


class VolumeInUse(Conflict):
    code = "volume_in_use"


class ImageInUse(Conflict):
    code = "image_in_use"


class PullCancelled(Conflict):
    code = "pull_cancelled"


class Exhausted(LongshoreError):
    code = "exhausted"


class StartFailed(LongshoreError):
    code = "start_failed"


class CommandNotFound(StartFailed):
    code = "command_not_found"


class LimitNotApplied(StartFailed):
    code = "limit_not_applied"


class UpdateTakenBack(StartFailed):
    """A new version of a container was no good: `details` have its number (`version`), that of the
    one that is in use again (`previous`), and why."""

    code = "update_taken_back"


class BadImage(StartFailed):
    code = "bad_image"


class HostFailed(LongshoreError):
    code = "host_failed"


class HostUnavailable(HostFailed):
    code = "host_unavailable"
    retry = True


class HostBusy(HostFailed):
    code = "host_busy"
    retry = True


class DeadlineExceeded(HostFailed):
    code = "deadline_exceeded"
    retry = True


class ImageSourceFailed(LongshoreError):
    code = "image_source_failed"


class ImageSourceDenied(ImageSourceFailed):
    code = "image_source_denied"


class ImageSourceUnavailable(ImageSourceFailed):
    code = "image_source_unavailable"
    retry = True


class Interrupted(LongshoreError):
    code = "interrupted"
    retry = True


class AgentBusy(LongshoreError):
    code = "agent_busy"
    retry = True


class NodeUnreachable(LongshoreError):
    code = "node_unreachable"
    retry = True


class BrokerUnavailable(LongshoreError):
    code = "broker_unavailable"
    retry = True


def _tree(cls: type[LongshoreError]) -> list[type[LongshoreError]]:
    return [cls, *(leaf for sub in cls.__subclasses__() for leaf in _tree(sub))]


BY_CODE: Mapping[str, type[LongshoreError]] = {cls.code: cls for cls in _tree(LongshoreError)}


def from_dict(value: Mapping[str, Any]) -> LongshoreError:
    """The error that `to_dict` described; an unknown code becomes the base class."""
    cls = BY_CODE.get(str(value.get("code")), LongshoreError)
    return cls(
        str(value.get("message", "")),
        field=value.get("field"),
        object=value.get("object"),
        hint=value.get("hint"),
        details=value.get("details"),
    )
