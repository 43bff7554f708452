"""Credentials on the bus: in no log, however much is logged, and in no error."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import pytest

from bus.kit import Agents, spec
from fakes.service import FakeService
from longshore.bus.client import ComputeClient
from longshore.errors import ImageSourceDenied, InvalidRequest, LongshoreError
from longshore.model.transfer import Auth, Credential

SECRET = "pa55w0rd-d0-n0t-sh0w"
BOB = Credential("bob", SECRET)


def test_what_is_logged_and_told_of_a_credential(
    agents: Agents,
    nodes: ComputeClient,
    node: str,
    service: FakeService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []

    def fails(call: Callable[[], object], kind: type[LongshoreError]) -> None:
        with pytest.raises(kind) as caught:
            call()
        told.extend(traceback.format_exception(caught.value))
        told.append(str(caught.value.to_dict()))

    with caplog.at_level(logging.DEBUG):
        agents()
        nodes.pull_image(node, "web", auth=Auth(BOB))
        nodes.create(node, spec(), credential=Credential(token=SECRET))
        service.fail("pull_image", ImageSourceDenied("cannot pull web: bob may not"))
        fails(lambda: nodes.pull_image(node, "web", auth=Auth(BOB)), ImageSourceDenied)
        service.fail("pull_image", ZeroDivisionError("unexpected"))
        fails(lambda: nodes.pull_image(node, "web", auth=Auth(BOB)), LongshoreError)
        fails(lambda: nodes.pull_image(node, "W", auth=Auth(BOB)), InvalidRequest)
        split = Credential("bob", f"{SECRET}\n")
        fails(lambda: nodes.create(node, spec(), credential=split), InvalidRequest)
        fails(lambda: nodes.create("nobody", spec(), credential=BOB), LongshoreError)
        fails(lambda: nodes.push_image(node, "web", "web", Auth(BOB, "ours")), InvalidRequest)
    # All of it was at work: oslo.messaging's and amqp's debug lines, and a traceback of ours.
    names = {record.name.split(".")[0] for record in caplog.records}
    assert {"oslo_messaging", "amqp", "longshore"} <= names
    assert "ZeroDivisionError: unexpected" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in "".join(told)
    assert service.credentials == [Credential(token=SECRET)]
    assert service.given[0][-1] == Auth(BOB)
