"""The messages that give a container another version of its spec, and those that ask for them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from longshore.model.image_messages import AuthGiven, Image, Policy
from longshore.model.message import Message, Ref
from longshore.model.operation_messages import Operation
from longshore.model.transfer import Auth, PullPolicy

Apply = Literal["now", "restart"]
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]


class Update(Operation):
    """`patch`: of the spec, as RFC 7396 has it; it may hold values of secrets."""

    verb = "update"
    patch: Annotated[dict[str, Any], Field(repr=False)]
    apply: Apply = "now"


class Rollback(Operation):
    """`version`: None: the last one before its present one that was not taken back."""

    verb = "rollback"
    version: Number | None = None
    apply: Apply = "now"


class Rebuild(Operation):
    verb = "rebuild"
    image: Image
    policy: Policy = "if-not-present"
    auth: AuthGiven = AuthGiven()

    @property
    def asked(self) -> tuple[str, PullPolicy, Auth]:
        return self.image, PullPolicy(self.policy), self.auth.value


class ListVersions(Message):
    verb = "versions"
    since: ClassVar[str] = "1.3"
    ref: Ref


class CompareVersions(Message):
    """Numbers of two versions of its spec."""

    verb = "compare_versions"
    since: ClassVar[str] = "1.3"
    ref: Ref
    before: Number
    after: Number
