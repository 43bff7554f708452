"""The verbs that concern images, as a scheduler calls them.

A name is one of a registry (`busybox`, `registry.example/team/web:1`) or of Glance
(`glance://<id or name>`). A deadline ends the waiting alone: the agent cannot see its caller
leave, so that what it asked for goes on. The same pull again joins the one under way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeVar

from pydantic import ValidationError

from longshore.errors import LongshoreError
from longshore.model.commit import Commit
from longshore.model.status import (
    ImageDetail,
    ImageStatus,
    PruneStatus,
    TransferStatus,
    Value,
)
from longshore.model.transfer import Auth, Credential, PullPolicy

V = TypeVar("V", bound=Value)
_NO_AUTH = Auth()
_AS_IT_IS = Commit()


class ImageVerbs(ABC):
    """The part of ComputeClient that concerns images. `deadline`: seconds; None: the client's."""

    def load_image(
        self, node: str, path: str | PurePath, *, deadline: float | None = None
    ) -> Sequence[ImageStatus]:
        """Loads an archive that lies at `path` on the node, beneath one of its archive roots."""
        return all_of(ImageStatus, self._ask(node, "load_image", {"path": str(path)}, deadline))

    def list_images(self, node: str, *, deadline: float | None = None) -> Sequence[ImageStatus]:
        return all_of(ImageStatus, self._ask(node, "list_images", {}, deadline))

    def show_image(self, node: str, name: str, *, deadline: float | None = None) -> ImageDetail:
        return one_of(ImageDetail, self._ask(node, "show_image", {"name": name}, deadline))

    def pull_image(
        self,
        node: str,
        name: str,
        policy: PullPolicy | str = PullPolicy.ALWAYS,
        auth: Auth = _NO_AUTH,
        *,
        deadline: float | None = None,
    ) -> ImageStatus:
        """Returns once the image is on the node; `node_status` tells how far it is."""
        message = {"name": name, "policy": str(policy), "auth": auth_of(auth)}
        return one_of(ImageStatus, self._ask(node, "pull_image", message, deadline))

    def prefetch_image(
        self,
        node: str,
        name: str,
        policy: PullPolicy | str = PullPolicy.ALWAYS,
        auth: Auth = _NO_AUTH,
        *,
        deadline: float | None = None,
    ) -> TransferStatus:
        """Has it pulled and returns at once. Asked again meanwhile, it is one pull."""
        message = {"name": name, "policy": str(policy), "auth": auth_of(auth)}
        return one_of(TransferStatus, self._ask(node, "prefetch_image", message, deadline))

    def push_image(
        self,
        node: str,
        name: str,
        to: str,
        auth: Auth = _NO_AUTH,
        *,
        deadline: float | None = None,
    ) -> TransferStatus:
        """Sends the node's image `name` to `to`; returns once it is there."""
        message = {"name": name, "to": to, "auth": auth_of(auth)}
        return one_of(TransferStatus, self._ask(node, "push_image", message, deadline))

    def save_images(
        self,
        node: str,
        names: Sequence[str],
        path: str | PurePath,
        *,
        deadline: float | None = None,
    ) -> None:
        """Writes them to a new archive at `path` on the node, beneath one of its archive roots."""
        message = {"names": list(names), "path": str(path)}
        self._ask(node, "save_images", message, deadline)

    def tag_image(
        self, node: str, name: str, new: str, *, deadline: float | None = None
    ) -> ImageStatus:
        """Gives image `name` one more name; one that stood for another image is moved."""
        message = {"name": name, "new": new}
        return one_of(ImageStatus, self._ask(node, "tag_image", message, deadline))

    def remove_image(self, node: str, name: str, *, deadline: float | None = None) -> ImageStatus:
        """Removes one name of an image.

        ImageNotFound may also mean that it is gone since an attempt whose answer was lost.
        """
        return one_of(ImageStatus, self._ask(node, "remove_image", {"name": name}, deadline))

    def prune_images(
        self,
        node: str,
        *,
        all: bool = False,
        deadline: float | None = None,
    ) -> PruneStatus:
        """Removes content that no image needs; `all`: also images that no container uses."""
        return one_of(PruneStatus, self._ask(node, "prune_images", {"all": all}, deadline))

    def commit(
        self,
        node: str,
        ref: str,
        name: str,
        change: Commit = _AS_IT_IS,
        *,
        deadline: float | None = None,
    ) -> ImageStatus:
        """Makes image `name` of a container's files."""
        message = {
            "ref": ref,
            "name": name,
            "author": change.author,
            "message": change.message,
            "changes": list(change.changes),
            "pause": change.pause,
        }
        return one_of(ImageStatus, self._ask(node, "commit", message, deadline))

    @abstractmethod
    def _ask(
        self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None
    ) -> Any: ...


def credential_of(credential: Credential) -> dict[str, str]:
    """As it is sent."""
    if credential.token:
        return {"token": credential.token}
    return {"username": credential.username, "password": credential.password}


def one_of(kind: type[V], answer: Any) -> V:
    """The agent's answer as `kind`. Raises LongshoreError for what is none."""
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        raise LongshoreError(
            f"cannot read the agent's answer: {error.error_count()} faults in a {kind.__name__}",
            hint="is the agent of an older or newer release than this client?",
        ) from error


def all_of(kind: type[V], answer: Any) -> Sequence[V]:
    """As `one_of`, for a list."""
    if not isinstance(answer, list):
        raise LongshoreError(f"cannot read the agent's answer: no list of {kind.__name__}")
    return [one_of(kind, one) for one in answer]


def auth_of(auth: Auth) -> dict[str, Any]:
    """As it is sent."""
    given: dict[str, Any] = {}
    if auth.credential is not None:
        given["credential"] = credential_of(auth.credential)
    if auth.name is not None:
        given["name"] = auth.name
    return given
