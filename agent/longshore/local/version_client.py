"""The verbs that concern versions of a container's spec, as a program on the node calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from longshore.errors import DeadlineExceeded
from longshore.local import convert
from longshore.local.answers import container_of, intent_of, json_of, whole_spec
from longshore.local.calls import Calls
from longshore.local.image_client import auth_of, message
from longshore.model.status import ContainerStatus, FieldChange, VersionStatus
from longshore.model.transfer import Auth, PullPolicy
from longshore.pb.longshore.v1 import agent_pb2

_NO_AUTH = Auth()
#: Seconds, beside the timeout, after which an agent says that a version is on trial still.
_TRIAL = 30.0


class _Client(Protocol):
    """What LocalClient has, and these verbs call with."""

    _calls: Calls

    def _by(self, patience: float = 0) -> float: ...

    def show(self, ref: str) -> ContainerStatus: ...


class VersionVerbs:
    """The part of LocalClient that concerns versions."""

    def update(
        self: _Client,
        ref: str,
        patch: Mapping[str, Any],
        *,
        apply: str = "now",
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """Changes its spec by a merge patch (RFC 7396); `plan` says what that takes. Returns once
        the new version is in use, however long it is on trial: the timeout is for the agent's
        silence.

        Args:
            apply: `now`: it is started again if need be; `restart`: with its next start, and this
                returns at once.

        Raises:
            UpdateTakenBack: it was no good, and the former version is in use again.
        """
        request = message(
            agent_pb2.UpdateRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
            patch_json=json_of(patch, "update"),
            apply=apply,
        )
        return _decided(self, "Update", f"update {ref}", request)

    def rollback(
        self: _Client,
        ref: str,
        version: int | None = None,
        *,
        apply: str = "now",
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """An update to what that version was; None: the last one before its present one that was
        not taken back. As `update`."""
        request = message(
            agent_pb2.RollbackRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
            version=version,
            apply=apply,
        )
        return _decided(self, "Rollback", f"roll {ref} back", request)

    def rebuild(
        self: _Client,
        ref: str,
        image: str,
        policy: PullPolicy | str = PullPolicy.IF_NOT_PRESENT,
        auth: Auth = _NO_AUTH,
        *,
        wait: str | None = None,
        request_id: str | None = None,
        generation: int | None = None,
    ) -> ContainerStatus:
        """Makes it anew of another image; its addresses, ports and volumes stay, what it wrote into
        its own layer does not."""
        patience = float(self.show(ref).spec.get("stop_grace", 0)) if wait is None else 0.0
        request = message(
            agent_pb2.RebuildRequest,
            intent=intent_of(request_id, generation, wait),
            ref=ref,
            image=image,
            policy=str(policy),
            auth=auth_of(auth),
        )
        by = self._by(patience)
        return container_of(self._calls.change("Rebuild", f"rebuild {ref}", request, by))

    def versions(self: _Client, ref: str) -> Sequence[VersionStatus]:
        """Of its spec, oldest first: the last ten, and those that are pending or on trial."""
        request = message(agent_pb2.ShowRequest, ref=ref)
        reply = self._calls.ask("Versions", f"list the versions of {ref}", request, self._by())
        return [_version(one) for one in reply.versions]

    def compare_versions(self: _Client, ref: str, before: int, after: int) -> Sequence[FieldChange]:
        """How the second differs from the first."""
        request = message(agent_pb2.CompareVersionsRequest, ref=ref, before=before, after=after)
        what = f"compare versions of {ref}"
        reply = self._calls.ask("CompareVersions", what, request, self._by())
        return [FieldChange.model_validate(convert.to_dict(one)) for one in reply.changes]


def _decided(client: _Client, rpc: str, what: str, request: Any) -> ContainerStatus:
    """Asks again, under the same request id, for as long as the agent says that it cannot say."""
    while True:
        try:
            return container_of(client._calls.change(rpc, what, request, client._by(_TRIAL)))
        except DeadlineExceeded as error:
            if not error.details.get("on_trial"):
                raise


def _version(reply: Any) -> VersionStatus:
    return VersionStatus.model_validate(whole_spec(convert.to_dict(reply)))
