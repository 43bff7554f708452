"""What a Dockerfile's instructions make of an image's config."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.errors import InvalidRequest
from longshore.model.instructions import changed

BASE = {"Env": ["PATH=/bin", "A=one"], "Cmd": ["old"], "WorkingDir": "/srv", "Labels": {"a": "1"}}


def difference(*changes: str, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the changes add to the base or alter; None for what they take away."""
    before = BASE if base is None else base
    after = changed(before, changes)
    return {
        name: after.get(name)
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (['CMD ["a", "b c"]'], {"Cmd": ["a", "b c"]}),
        (["CMD a 'b c' $A"], {"Cmd": ["/bin/sh", "-c", "a 'b c' $A"]}),
        (["cmd [ -f /x ] && run"], {"Cmd": ["/bin/sh", "-c", "[ -f /x ] && run"]}),
        (["CMD []"], {"Cmd": None}),
        (['ENTRYPOINT ["/e"]'], {"Entrypoint": ["/e"], "Cmd": None}),
        (['CMD ["x"]', "ENTRYPOINT /e -v"], {
            "Entrypoint": ["/bin/sh", "-c", "/e -v"], "Cmd": ["x"]}),
        (["ENV B=two A=1"], {"Env": ["PATH=/bin", "A=1", "B=two"]}),
        (["ENV B two words"], {"Env": ["PATH=/bin", "A=one", "B=two words"]}),
        (['ENV B="two $A" C=\'$A\' D=\\$A E=${A}x F=a\\ b'], {"Env": [
            "PATH=/bin", "A=one", "B=two one", "C=$A", "D=$A", "E=onex", "F=a b"]}),
        (["ENV B=$NONE C=$ D="], {"Env": ["PATH=/bin", "A=one", "B=", "C=$", "D="]}),
        (["ENV PATH=/new:$PATH"], {"Env": ["PATH=/new:/bin", "A=one"]}),
        (["EXPOSE 80 53/UDP 8000-8002"], {"ExposedPorts": {
            "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}}),
        (['LABEL b=2 "c d"="e f"'], {"Labels": {"a": "1", "b": "2", "c d": "e f"}}),
        (["LABEL a new value"], {"Labels": {"a": "new value"}}),
        (["STOPSIGNAL SIGQUIT"], {"StopSignal": "SIGQUIT"}),
        (["STOPSIGNAL 3"], {"StopSignal": "3"}),
        (["STOPSIGNAL RTMIN+3"], {"StopSignal": "RTMIN+3"}),
        (["USER app:extra"], {"User": "app:extra"}),
        (['VOLUME ["/data", "/a b"]'], {"Volumes": {"/data": {}, "/a b": {}}}),
        (["VOLUME /data//x/. /more"], {"Volumes": {"/data/x": {}, "/more": {}}}),
        (["WORKDIR sub"], {"WorkingDir": "/srv/sub"}),
        (["WORKDIR /x", "WORKDIR ../y", "WORKDIR $A"], {"WorkingDir": "/y/one"}),
        (["  LABEL\tb=2  "], {"Labels": {"a": "1", "b": "2"}}),
        ([], {}),
    ],
)  # fmt: skip
def test_what_they_change(changes: list[str], expected: dict[str, Any]) -> None:
    assert difference(*changes) == expected
    assert BASE["Labels"] == {"a": "1"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("RUN rm -rf /", "begins with none of CMD, ENTRYPOINT"),
        ("", "begins with none of"),
        ("FROM scratch", "begins with none of"),
        ("CMD", "CMD needs an argument"),
        ("ENV A", "'A' has no value"),
        ("ENV A=1 B", "'B' has no value"),
        ("ENV =x", "has no value"),
        ("ENV A='open", "a ' is not closed"),
        ("ENV A=${B:-c}", "must hold the name of a variable"),
        ("EXPOSE eighty", "'eighty' is no port"),
        ("EXPOSE 0", "is no port"),
        ("EXPOSE 9-8", "is no port"),
        ("EXPOSE 65536/tcp", "is no port"),
        ("EXPOSE 80/icmp", "is no port"),
        ("STOPSIGNAL SIGNONE", "'SIGNONE' is no signal"),
        ("STOPSIGNAL SIGTERM SIGINT", "exactly one argument"),
        ("USER ''", "exactly one argument"),
        ("VOLUME data", "'data' is no absolute path"),
        ("VOLUME /", "is no absolute path of a folder in the image"),
        ("VOLUME /a/../../b", "is no absolute path"),
        ('CMD ["a\\u0000"]', "no argument can"),
        ('CMD ["\\ud800"]', "no argument can"),
        ("CMD a\nRUN b", "cannot be printed"),
        ("CMD \ud800", "cannot be printed"),
        ("LABEL a=" + "x" * 70000, "longer than 65536"),
    ],
)
def test_what_is_refused(change: str, why: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        changed(BASE, ["LABEL fine=1", change])
    assert why in caught.value.message
    assert caught.value.field == "changes[1]"


def test_too_many() -> None:
    with pytest.raises(InvalidRequest) as caught:
        changed(BASE, ["CMD x"] * 257)
    assert caught.value.field == "changes"
