"""The messages that concern a container's files."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, field_validator

from longshore.model.message import Message, Ref, RequestId
from longshore.model.status import PathStatus, Value
from longshore.model.values import no_nul

#: Bytes of a tar that goes over the bus. What is larger goes through the node's own socket.
TAR_MAX = 256 * 1024


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must be an absolute path in the container")
    return text


#: Of a file in a container.
Inside = Annotated[
    str,
    Field(min_length=1, max_length=4096),
    AfterValidator(no_nul),
    AfterValidator(_absolute),
]


class CopyMessage(Message):
    since: ClassVar[str] = "1.3"


class CopyOut(CopyMessage):
    """`follow_link`: what a link points to, instead of the link."""

    verb = "copy_out"
    ref: Ref
    path: Inside
    follow_link: bool = False


class CopyInStart(CopyMessage):
    """A copy whose tar comes by another way.

    Args:
        path: of a folder.
        archive: with the owners that the tar names. Else all is the container's user's.
        replace: a folder may take a file's place, and the reverse.
    """

    verb = "copy_in"
    request_id: RequestId
    ref: Ref
    path: Inside
    archive: bool = False
    replace: bool = False


class CopyIn(CopyInStart):
    """`tar`: in base64, at most TAR_MAX bytes."""

    tar: str

    @field_validator("tar")
    @classmethod
    def _is_base64(cls, text: str) -> str:
        try:
            size = len(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError) as error:
            raise ValueError("is no base64") from error
        if size > TAR_MAX:
            raise ValueError(f"is above {TAR_MAX} bytes: copy it on the node itself, or in parts")
        return text

    @property
    def content(self) -> bytes:
        return base64.b64decode(self.tar)


class Diff(CopyMessage):
    verb = "diff"
    ref: Ref


class Copied(Value):
    """A small copy out of a container. `tar`: in base64."""

    path: PathStatus
    tar: str


class Unpacked(Value):
    """`entries`: files, folders and links that were made; `bytes`: of the tar."""

    entries: int
    bytes: int
