"""What a message to the agent may hold, and nothing else gets past here.

Pure: JSON types in, typed values out. Unknown and missing keys, wrong types and wrong words are
refused with every fault and its field. What was given is never quoted: it may be a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from longshore.errors import InvalidRequest
from longshore.model.faults import faults_of
from longshore.model.request import id_fault
from longshore.model.values import Part, no_nul


class Message(Part):
    """The arguments of one verb. `since`: the version of the bus that first had it; `newer`: keys
    that came after it, each with the version that first had it."""

    verb: ClassVar[str]
    since: ClassVar[str] = "1.0"
    newer: ClassVar[Mapping[str, str]] = {}


M = TypeVar("M", bound=Message)


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must be an absolute path on the node")
    return text


def _request_id(text: str) -> str:
    why = id_fault(text)
    if why:
        raise ValueError(why)
    return text


RequestId = Annotated[str, AfterValidator(_request_id)]
Ref = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(no_nul)]
#: Of a file on the node.
Path = Annotated[
    str,
    Field(min_length=1, max_length=4096),
    AfterValidator(no_nul),
    AfterValidator(_absolute),
]


def decode(kind: type[M], message: Mapping[str, Any], whole: str = "message") -> M:
    """The message as `kind`.

    Args:
        whole: the field to name when a fault is of no single one.

    Raises:
        InvalidRequest: `field` names the first fault, `details['faults']` has all.
    """
    try:
        return kind.model_validate(dict(message))
    except ValidationError as error:
        faults = faults_of(error, whole)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    raise InvalidRequest(
        f"cannot accept the {kind.verb} message: {faults[0]['field']}: {faults[0]['why']}{more}",
        field=faults[0]["field"],
        details={"faults": faults},
    )
