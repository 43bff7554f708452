"""The message format: what gets through, and what is refused with which field."""

from __future__ import annotations

import traceback
from typing import Any
from uuid import uuid4

import pytest

from longshore.bus import wire
from longshore.errors import InvalidRequest, InvalidSpec, MessageTooLarge
from longshore.model import copy_messages as copies
from longshore.model import exec_messages as execs
from longshore.model import image_messages as asks
from longshore.model import log_messages as logs
from longshore.model import operation_messages as operations
from longshore.model import stats_messages as stats
from longshore.model import story_messages as stories
from longshore.model import upkeep_messages as upkeep
from longshore.model import version_messages as versions
from longshore.model import volume_messages as volumes
from longshore.model.message import Message
from longshore.model.request import Request
from longshore.model.transfer import Auth, Credential

ID = str(uuid4())
SPEC = {"id": str(uuid4()), "name": "web", "image": "web:1"}
INTENT: dict[str, Any] = {"request_id": ID, "generation": 3, "wait": None}


def test_create_is_decoded_whole() -> None:
    message = {**INTENT, "spec": SPEC, "start": False, "credential": {"token": "t"}}
    request, spec, start, credential = wire.decode_create(message, "bus me")
    assert request == Request(id=ID, generation=3, origin="bus me", wait=None)
    assert (spec.id, spec.name, start) == (SPEC["id"], "web", False)
    assert credential == Credential(token="t")


def test_only_the_request_id_is_needed() -> None:
    asked = wire.decode(wire.Delete, {"request_id": ID, "ref": "web"})
    assert asked.request("bus") == Request(id=ID, generation=None, origin="bus", wait=None)
    assert asked.force is False


@pytest.mark.parametrize(
    ("kind", "more", "word", "meaning"),
    [
        (wire.Create, {"spec": SPEC}, "running", None),
        (wire.Create, {"spec": SPEC, "start": False}, "created", None),
        (wire.Create, {"spec": SPEC}, "accepted", "accepted"),
        (wire.Start, {"ref": "web"}, "running", None),
        (wire.Stop, {"ref": "web"}, "stopped", None),
        (wire.Delete, {"ref": "web"}, "deleted", None),
        (wire.Delete, {"ref": "web"}, "accepted", "accepted"),
        (versions.Update, {"ref": "web", "patch": {}}, "updated", None),
        (versions.Rollback, {"ref": "web"}, "accepted", "accepted"),
        (versions.Rebuild, {"ref": "web", "image": "web:2"}, "rebuilt", None),
    ],
)
def test_words_to_wait_for(
    kind: type[wire.Intent], more: dict[str, Any], word: str, meaning: str | None
) -> None:
    asked = wire.decode(kind, {**INTENT, **more, "wait": word})
    assert asked.request("bus").wait == meaning


REF = {**INTENT, "ref": "web"}
BAD: list[tuple[type[Message], dict[str, Any], list[str]]] = [
    (copies.CopyOut, {"ref": "a", "path": "b"}, ["path"]),
    (
        copies.CopyIn,
        {"request_id": "x", "ref": "a", "path": "/", "tar": "*"},
        ["request_id", "tar"],
    ),
    (copies.Diff, {"ref": "a", "path": "/"}, ["path"]),
    (stats.Stats, {"refs": ["web", "", 7]}, ["refs[1]", "refs[2]"]),
    (stats.Stats, {"refs": "web"}, ["refs"]),
    (stats.Top, {}, ["ref"]),
    (stories.Explain, {"ref": ""}, ["ref"]),
    (stories.Events, {"after": -1, "kinds": ["birth"]}, ["after", "kinds[0]"]),
    (stories.Events, {"timeout": 61}, ["timeout"]),
    (wire.Create, {"spec": SPEC}, ["request_id"]),
    (wire.Create, INTENT, ["spec"]),
    (wire.Create, {**INTENT, "spec": [1]}, ["spec"]),
    (wire.Create, {**INTENT, "spec": SPEC, "start": "no"}, ["start"]),
    (wire.Create, {**INTENT, "spec": SPEC, "wait": "created"}, ["wait"]),
    (wire.Create, {**INTENT, "spec": SPEC, "start": False, "wait": "running"}, ["wait"]),
    (wire.Create, {**INTENT, "spec": SPEC, "colour": 1, "size": 2}, ["colour", "size"]),
    (wire.Start, {**REF, "request_id": "no-uuid"}, ["request_id"]),
    (wire.Start, {**REF, "request_id": ID.upper()}, ["request_id"]),
    (wire.Start, {**REF, "request_id": "{" + ID + "}"}, ["request_id"]),
    (wire.Start, {**REF, "request_id": 7}, ["request_id"]),
    (wire.Start, {**REF, "request_id": None, "generation": 0}, ["request_id", "generation"]),
    (wire.Start, {**REF, "generation": -1}, ["generation"]),
    (wire.Start, {**REF, "generation": "1"}, ["generation"]),
    (wire.Start, {**REF, "generation": True}, ["generation"]),
    (wire.Start, {**REF, "generation": 1.0}, ["generation"]),
    (wire.Start, {**REF, "generation": 2**63}, ["generation"]),
    (wire.Start, {**REF, "wait": "stopped"}, ["wait"]),
    (wire.Start, {**REF, "wait": ""}, ["wait"]),
    (wire.Start, {**REF, "wait": 1}, ["wait"]),
    (wire.Start, {**INTENT, "ref": ""}, ["ref"]),
    (wire.Start, {**INTENT, "ref": "a\0b"}, ["ref"]),
    (wire.Start, {**INTENT, "ref": "x" * 65}, ["ref"]),
    (wire.Stop, {**REF, "grace": -1}, ["grace"]),
    (wire.Stop, {**REF, "grace": float("nan")}, ["grace"]),
    (wire.Stop, {**REF, "grace": "5"}, ["grace"]),
    (wire.Stop, {**REF, "grace": True}, ["grace"]),
    (wire.Stop, {**REF, "force": True}, ["force"]),
    (wire.Delete, {**REF, "force": 1}, ["force"]),
    (operations.Restart, {**REF, "grace": -1}, ["grace"]),
    (operations.Kill, {**REF, "signal": 15}, ["signal"]),
    (operations.Pause, {**REF, "wait": "running"}, ["wait"]),
    (operations.Unpause, {**REF, "wait": "paused"}, ["wait"]),
    (operations.Rename, {**REF, "name": "../x"}, ["name"]),
    (versions.Update, REF, ["patch"]),
    (versions.Update, {**REF, "patch": [], "apply": "soon"}, ["patch", "apply"]),
    (versions.Update, {**REF, "patch": {}, "wait": "running"}, ["wait"]),
    (versions.Rollback, {**REF, "version": 0, "patch": {}}, ["version", "patch"]),
    (versions.Rollback, {**REF, "version": "2"}, ["version"]),
    (versions.Rebuild, {**REF, "image": "Web", "policy": "missing"}, ["image", "policy"]),
    (versions.Rebuild, {**REF, "image": "web", "auth": {"token": "t"}}, ["auth.token"]),
    (versions.ListVersions, {"ref": "web", "last": 3}, ["last"]),
    (versions.CompareVersions, {"ref": "web", "before": 0, "after": True}, ["before", "after"]),
    (wire.Show, {}, ["ref"]),
    (wire.Show, {"ref": ["web"]}, ["ref"]),
    (upkeep.ListContainers, {"all": True}, ["all"]),
    (upkeep.WaitFor, {"ref": "a", "timeout": 0}, ["timeout"]),
    (upkeep.PruneContainers, {"request_id": "x", "labels": [""]}, ["request_id", "labels[0]"]),
    (upkeep.PlanChange, {"ref": "", "patch": []}, ["ref", "patch"]),
    (wire.LoadImage, {"path": "web.tar"}, ["path"]),
    (wire.LoadImage, {"path": "/a\0b"}, ["path"]),
    (wire.ListImages, {"self": 1}, ["self"]),
    (wire.Create, {**INTENT, "spec": SPEC, "credential": {}}, ["credential"]),
    (asks.ShowImage, {"name": ""}, ["name"]),
    (asks.ShowImage, {"name": "a\0b"}, ["name"]),
    (asks.ShowImage, {"name": "Web"}, ["name"]),
    (asks.PullImage, {"name": "web", "policy": "sometimes"}, ["policy"]),
    (asks.PullImage, {"name": "web", "policy": None}, ["policy"]),
    (asks.PullImage, {"name": "glance://", "auth": {"name": "a b"}}, ["name", "auth.name"]),
    (asks.PrefetchImage, {"name": "web", "auth": "bob:pw"}, ["auth"]),
    (asks.PushImage, {"name": "web", "to": 5}, ["to"]),
    (asks.TagImage, {"name": "web"}, ["new"]),
    (asks.RemoveImage, {"name": "web", "force": True}, ["force"]),
    (asks.PruneImages, {"all": "yes"}, ["all"]),
    (asks.SaveImages, {"names": [], "path": "x.tar"}, ["names", "path"]),
    (asks.SaveImages, {"names": "web", "path": "/x.tar"}, ["names"]),
    (asks.SaveImages, {"names": ["web"] * 65, "path": "/x.tar"}, ["names"]),
    (asks.SaveImages, {"names": ["web", 1], "path": "/x.tar"}, ["names[1]"]),
    (asks.CommitContainer, {"ref": "", "name": "web", "pause": 0}, ["ref", "pause"]),
    (asks.CommitContainer, {"ref": "web", "name": "web", "changes": ["a", 1]}, ["changes[1]"]),
    (wire.ShowNode, {"": 1}, ["message"]),
    (volumes.Fits, {"spec": "web"}, ["spec"]),
    (volumes.ListFlavors, {"name": "small"}, ["name"]),
    (
        volumes.CreateVolume,
        {"name": "../x", "labels": {"a": 1}},
        ["request_id", "name", "labels[a]"],
    ),
    (volumes.ListVolumes, {"all": True}, ["all"]),
    (logs.Logs, {"tail": 5}, ["ref"]),
    (logs.Logs, {"ref": "web", "tail": -1, "since": "10m"}, ["tail", "since"]),
    (logs.Logs, {"ref": "web", "until": float("nan"), "max_bytes": 2**20}, ["until", "max_bytes"]),
    (logs.Logs, {"ref": "web", "stream": "stdin", "after": 5.0}, ["stream", "after"]),
    (volumes.ShowVolume, {}, ["name"]),
    (
        volumes.RemoveVolume,
        {"name": "data", "request_id": "1", "force": True},
        ["request_id", "force"],
    ),
    (
        execs.Execute,
        {"ref": "web", "command": [], "workdir": "tmp", "env": {"A=": "b"}, "timeout": 3601},
        ["request_id", "command", "env[A=]", "workdir", "timeout"],
    ),
]


@pytest.mark.parametrize(("kind", "message", "fields"), BAD)
def test_what_is_refused(kind: type[Message], message: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        wire.decode(kind, message)
    error = caught.value
    assert type(error) is InvalidRequest
    assert [fault["field"] for fault in error.details["faults"]] == fields
    assert error.field == fields[0]
    assert str(error).startswith(f"cannot accept the {kind.verb} message: {fields[0]}: ")


SECRET = "pa55w0rd-d0-n0t-sh0w"


@pytest.mark.parametrize(
    ("credential", "field"),
    [
        ({"token": SECRET, "username": "bob"}, ""),
        ({"token": SECRET, "password": SECRET}, ""),
        ({"password": SECRET}, ""),
        ({"username": "", "password": SECRET}, ""),
        ({"token": SECRET + "\r\nX: y"}, ".token"),
        ({"token": SECRET * 1000}, ".token"),
        ({"username": f"bob:{SECRET}"}, ".username"),
        ({"username": "bob", "password": f"{SECRET}\n"}, ".password"),
        ({"username": "bob", "password": [SECRET]}, ".password"),
        ({"username": "bob", "pass": SECRET}, ".pass"),
        ([SECRET], ""),
        (SECRET, ""),
    ],
)
def test_a_credential_that_is_refused_is_not_quoted(credential: Any, field: str) -> None:
    for kind, more, path in (
        (wire.Create, {**INTENT, "spec": SPEC, "credential": credential}, "credential"),
        (
            asks.PullImage,
            {"name": "web", "auth": {"credential": credential}},
            "auth.credential",
        ),
        (
            versions.Rebuild,
            {**REF, "image": "web", "auth": {"credential": credential}},
            "auth.credential",
        ),
    ):
        with pytest.raises(InvalidRequest) as caught:
            wire.decode(kind, more)
        assert path + field in [fault["field"] for fault in caught.value.details["faults"]]
        told = f"{caught.value.to_dict()} {''.join(traceback.format_exception(caught.value))}"
        assert SECRET not in told
    with pytest.raises(InvalidRequest) as envelope:
        wire.check_envelope({**GOOD_ENVELOPE, "args": [credential]}, None)
    assert SECRET not in str(envelope.value.to_dict())


def test_a_credential_is_not_shown() -> None:
    given = {"username": "bob", "password": SECRET}
    asked = wire.decode(asks.PullImage, {"name": "web", "auth": {"credential": given}})
    assert asked.asked[2] == Auth(Credential("bob", SECRET))
    for one in (asked, asked.asked, asked.auth, asked.auth.credential):
        assert SECRET not in f"{one!r} {one}"


def test_one_credential_or_the_name_of_one() -> None:
    both = {"credential": {"token": "t"}, "name": "ours"}
    with pytest.raises(InvalidRequest, match="not both") as caught:
        wire.decode(asks.PullImage, {"name": "web", "auth": both})
    assert caught.value.field == "auth"
    with pytest.raises(InvalidRequest) as beside:
        wire.decode_create(
            {**INTENT, "spec": {**SPEC, "image_credential": "ours"}, "credential": {"token": "t"}},
            "bus",
        )
    assert beside.value.field == "credential"


def test_the_oldest_version_that_knows_it() -> None:
    assert wire.version_for("create", {"spec": {}}) == "1.0"
    assert wire.version_for("create", {"spec": {}, "credential": {}}) == "1.1"
    assert wire.version_for("pull_image", {}) == "1.1"
    assert wire.version_for("list_volumes", {}) == "1.2"
    assert wire.version_for("stats", {}) == wire.VERSION == "1.3"
    assert wire.version_for("wait", {"ref": "a"}) == wire.VERSION == "1.3"
    assert wire.version_for("logs", {"ref": "web", "since": 5}) == wire.VERSION == "1.3"
    assert wire.version_for("pause", {}) == wire.VERSION == "1.3"
    assert wire.version_for("execute", {}) == wire.VERSION == "1.3"
    for verb in ("update", "rollback", "rebuild", "versions", "compare_versions"):
        assert wire.version_for(verb, {}) == wire.VERSION == "1.3"


def test_a_patch_is_not_shown() -> None:
    """It may hold values of secrets."""
    patch = {"secrets": [{"name": "a", "value": SECRET}]}
    asked = wire.decode(versions.Update, {**REF, "patch": patch})
    assert asked.patch == patch
    assert SECRET not in f"{asked!r} {asked}"


def test_every_verb_is_refused_something_here() -> None:
    assert {kind for kind, _, _ in BAD} == set(wire.MESSAGES.values())


def test_grace_takes_a_whole_number() -> None:
    assert wire.decode(wire.Stop, {**REF, "grace": 5}).grace == 5.0


def test_all_faults_of_a_spec_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        wire.decode_create({**INTENT, "spec": {"id": "x", "limits": {"memory": "5m"}}}, "bus")
    fields = {fault["field"] for fault in caught.value.faults}
    assert fields == {"id", "name", "image", "limits.memory"}


def test_size_is_that_of_the_json() -> None:
    wire.check_size({"a": "ü" * 10}, 28)  # {"a":"…"} around twenty bytes
    with pytest.raises(MessageTooLarge) as caught:
        wire.check_size({"a": "ü" * 10}, 27)
    assert caught.value.details == {"size": 28, "limit": 27}


GOOD_ENVELOPE = {"method": "list", "args": {}, "version": "1.0"}


@pytest.mark.parametrize(
    ("change", "monitor", "field"),
    [
        ({"method": None}, None, "method"),
        ({"method": "__init__"}, None, "method"),
        ({"method": "lane"}, None, "method"),
        ({"method": ["list"]}, None, "method"),
        ({"version": "2.0"}, None, "version"),
        ({"version": "1.4"}, None, "version"),
        ({"version": "0.9"}, None, "version"),
        ({"version": 1}, None, "version"),
        ({"version": None}, None, "version"),
        ({"version": "1"}, None, "version"),
        ({"namespace": "other"}, None, "namespace"),
        ({"args": None}, None, "args"),
        ({"args": [1]}, None, "args"),
        ({}, "soon", "_timeout"),
        ({}, True, "_timeout"),
    ],
)
def test_envelopes_that_are_refused(change: dict[str, Any], monitor: Any, field: str) -> None:
    wire.check_envelope(GOOD_ENVELOPE, 5)
    with pytest.raises(InvalidRequest) as caught:
        wire.check_envelope({**GOOD_ENVELOPE, **change}, monitor)
    assert caught.value.field == field
