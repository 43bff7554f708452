"""The verbs that concern versions of a container's spec, as a scheduler calls them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from longshore.bus.image_client import all_of, auth_of
from longshore.model.status import ContainerStatus, FieldChange, VersionStatus
from longshore.model.transfer import Auth, PullPolicy

_NO_AUTH = Auth()


class VersionVerbs(ABC):
    """The part of ComputeClient that concerns versions; arguments as of its `start`.

    A version with a health check may be on trial for longer than the deadline: the same request
    id, asked again, waits on.
    """

    def update(
        self,
        node: str,
        ref: str,
        patch: Mapping[str, Any],
        *,
        apply: str = "now",
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """Changes its spec by a merge patch (RFC 7396); `plan` says what that takes. Returns once
        the new version is in use.

        Args:
            apply: `now`: it is started again if need be; `restart`: with its next start, and this
                returns at once.

        Raises:
            UpdateTakenBack: it was no good, and the former version is in use again.
        """
        message = {"ref": ref, "patch": dict(patch), "apply": apply}
        return self._change(node, "update", message, wait, request_id, generation, deadline)

    def rollback(
        self,
        node: str,
        ref: str,
        version: int | None = None,
        *,
        apply: str = "now",
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """An update to what that version was; None: the last one before its present one that was
        not taken back. As `update`."""
        message = {"ref": ref, "version": version, "apply": apply}
        return self._change(node, "rollback", message, wait, request_id, generation, deadline)

    def rebuild(
        self,
        node: str,
        ref: str,
        image: str,
        policy: PullPolicy | str = PullPolicy.IF_NOT_PRESENT,
        auth: Auth = _NO_AUTH,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """Makes it anew of another image; its addresses, ports and volumes stay, what it wrote into
        its own layer does not."""
        message = {"ref": ref, "image": image, "policy": str(policy), "auth": auth_of(auth)}
        return self._change(node, "rebuild", message, wait, request_id, generation, deadline)

    def versions(
        self, node: str, ref: str, *, deadline: float | None = None
    ) -> Sequence[VersionStatus]:
        """Of its spec, oldest first: the last ten, and those that are pending or on trial."""
        return all_of(VersionStatus, self._ask(node, "versions", {"ref": ref}, deadline))

    def compare_versions(
        self, node: str, ref: str, before: int, after: int, *, deadline: float | None = None
    ) -> Sequence[FieldChange]:
        """How the second differs from the first."""
        message = {"ref": ref, "before": before, "after": after}
        return all_of(FieldChange, self._ask(node, "compare_versions", message, deadline))

    @abstractmethod
    def _change(
        self,
        node: str,
        verb: str,
        message: Mapping[str, Any],
        wait: str | None,
        request_id: str | None,
        generation: int | None,
        deadline: float | None,
    ) -> ContainerStatus: ...

    @abstractmethod
    def _ask(
        self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None
    ) -> Any: ...
