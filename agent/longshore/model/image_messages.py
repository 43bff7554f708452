"""What may be asked about images, the same at both front doors (bus/wire.py lists it)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from longshore.errors import InvalidRequest
from longshore.model.commit import Commit
from longshore.model.message import Message, Path, Ref, decode
from longshore.model.reference import canonical
from longshore.model.spec import ContainerSpec
from longshore.model.transfer import Auth, Credential, PullPolicy
from longshore.model.values import Name, Part, Text, no_nul


def _image(text: str) -> str:
    """As the user wrote it; what it means is `reference.canonical`'s to say."""
    canonical(no_nul(text))
    return text


def _one_line(text: str) -> str:
    if any(ord(one) < 32 or ord(one) == 127 for one in text):
        raise ValueError("must not hold control characters")
    return text


def _user(text: str) -> str:
    if ":" in text:
        raise ValueError("must not hold a colon (RFC 7617)")
    return text


Image = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_image)]
Policy = Literal["always", "if-not-present", "never"]


class CredentialGiven(Part):
    """`{username, password}` or `{token}`."""

    username: Annotated[
        str, Field(max_length=255, repr=False), AfterValidator(_one_line), AfterValidator(_user)
    ] = ""
    password: Annotated[str, Field(max_length=4096, repr=False), AfterValidator(_one_line)] = ""
    token: Annotated[str, Field(max_length=16384, repr=False), AfterValidator(_one_line)] = ""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.username) == bool(self.token) or (self.token and self.password):
            raise ValueError("must be username and password, or token")
        return self

    @property
    def value(self) -> Credential:
        return Credential(self.username, self.password, self.token)


class AuthGiven(Part):
    """`{credential}` of the request's own or `{name}` of one of the node's; empty: neither."""

    credential: CredentialGiven | None = None
    name: Name | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.credential and self.name:
            raise ValueError("must be a credential or the name of one, not both")
        return self

    @property
    def value(self) -> Auth:
        return Auth(self.credential.value if self.credential else None, self.name)


class ImageMessage(Message):
    since = "1.1"


class PullImage(ImageMessage):
    verb = "pull_image"
    name: Image
    policy: Policy = "always"
    auth: AuthGiven = AuthGiven()

    @property
    def asked(self) -> tuple[str, PullPolicy, Auth]:
        return self.name, PullPolicy(self.policy), self.auth.value


class PrefetchImage(PullImage):
    verb = "prefetch_image"


class PushImage(ImageMessage):
    """Image `name` of the node to `to`, a registry's name or glance://name."""

    verb = "push_image"
    name: Image
    to: Image
    auth: AuthGiven = AuthGiven()


class ShowImage(ImageMessage):
    verb = "show_image"
    name: Image


class TagImage(ImageMessage):
    verb = "tag_image"
    name: Image
    new: Image


class RemoveImage(ImageMessage):
    verb = "remove_image"
    name: Image


class PruneImages(ImageMessage):
    """`all`: also images that no container uses."""

    verb = "prune_images"
    all: bool = False


Images = Annotated[tuple[Image, ...], Field(min_length=1, max_length=64, strict=False)]


class ReadImages(ImageMessage):
    """For who reads the archive as a stream; on the bus there is none."""

    verb = "save_images"
    names: Images


class SaveImages(ReadImages):
    """`path` of a new file on the node."""

    path: Path


class CommitContainer(ImageMessage):
    verb = "commit"
    ref: Ref
    name: Image
    author: Annotated[str, Field(max_length=1024), AfterValidator(no_nul)] = ""
    message: Text = ""
    changes: Annotated[tuple[Text, ...], Field(max_length=64, strict=False)] = ()
    pause: bool = True

    @property
    def change(self) -> Commit:
        return Commit(self.author, self.message, self.changes, self.pause)


class _Trusted(Message):
    verb = "create"
    credential: CredentialGiven


def credential(value: Mapping[str, Any]) -> Credential:
    """What comes with a create, beside its spec.

    Raises:
        InvalidRequest: it is none.
    """
    return decode(_Trusted, {"credential": value}).credential.value


def beside(spec: ContainerSpec, given: Credential | None) -> Credential | None:
    """The credential that comes beside a spec, which may name one instead.

    Raises:
        InvalidRequest: both.
    """
    if given is not None and spec.image_credential is not None:
        raise InvalidRequest(
            "cannot create: there is a credential beside the spec, and the name of another in it",
            field="credential",
            object=spec.name,
            hint="give either the credential or spec.image_credential",
        )
    return given
