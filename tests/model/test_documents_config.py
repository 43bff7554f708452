"""What an image's config says of its containers."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.errors import BadImage
from longshore.model import image_config
from longshore.model.host import ImageConfig


def test_nothing_is_said() -> None:
    assert image_config.read(None) == image_config.read({}) == ImageConfig()
    nothing = dict.fromkeys(
        ["Entrypoint", "Cmd", "Env", "WorkingDir", "User", "StopSignal", "Labels", "ExposedPorts",
         "Volumes", "Healthcheck"]
    )  # fmt: skip
    assert image_config.read(nothing) == ImageConfig()


def test_all_is_said() -> None:
    found = image_config.read(
        {
            "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["echo"],
            "Env": ["A=1", "B"],
            "WorkingDir": "/w",
            "User": "app:staff",
            "StopSignal": "SIGINT",
            "Labels": {"k": "v"},
            "ExposedPorts": {"8080": {}, "53/udp": {}, "80/tcp": None, "9000-9010/tcp": {}},
            "Volumes": {"/data/": {}, "//srv/./x": {}, "/data": {}},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5 * 10**9, "Retries": 3},
            "OnBuild": ["RUN x"],
        }
    )
    assert found == ImageConfig(
        ("/bin/sh", "-c"), ("echo",), ("A=1", "B"), "/w", "app:staff", "SIGINT", {"k": "v"},
        ("53/udp", "80/tcp", "8080/tcp", "9000-9010/tcp"),
        ("/data", "/srv/x"),
        {"Test": ["CMD", "true"], "Interval": 5 * 10**9, "Retries": 3},
    )  # fmt: skip


BAD: dict[str, tuple[Any, str]] = {
    "no object": ([1], "config is not a JSON object"),
    "a command that is a text": ({"Cmd": "x"}, "Cmd has the wrong type"),
    "a number in the environment": ({"Env": [1]}, "Env has the wrong type"),
    "labels that are a list": ({"Labels": ["x"]}, "Labels has the wrong type"),
    "ports that are a list": ({"ExposedPorts": ["80"]}, "ExposedPorts has the wrong type"),
    "port 0": ({"ExposedPorts": {"0/tcp": {}}}, "is no port"),
    "port 65536": ({"ExposedPorts": {"65536": {}}}, "is no port"),
    "a port by name": ({"ExposedPorts": {"http": {}}}, "is no port"),
    "a protocol that is none": ({"ExposedPorts": {"80/icmp": {}}}, "is no port"),
    "a port with more": ({"ExposedPorts": {"80/tcp; rm": {}}}, "is no port"),
    "a volume here": ({"Volumes": {"data": {}}}, "is no absolute path"),
    "a volume nowhere": ({"Volumes": {"": {}}}, "is no absolute path"),
    "a volume with a zero": ({"Volumes": {"/a\0b": {}}}, "no absolute path|no text"),
    "a volume with a line": ({"Volumes": {"/a\nb": {}}}, "is no absolute path"),
    "a volume without end": ({"Volumes": {"/" + "a" * 5000: {}}}, "is no absolute path"),
    "a volume up": ({"Volumes": {"/data/../../etc": {}}}, "leads upwards"),
    "all of it": ({"Volumes": {"/": {}}}, "would hide the image"),
    "all of it, in other words": ({"Volumes": {"//./": {}}}, "would hide the image"),
    "the kernel's": ({"Volumes": {"/proc/sys": {}}}, "belongs to the system"),
    "the kernel's, in other words": ({"Volumes": {"//./sys/": {}}}, "belongs to the system"),
    "devices": ({"Volumes": {"/dev": {}}}, "belongs to the system"),
    "too many volumes": ({"Volumes": {f"/{i}": {} for i in range(129)}}, "more than 128"),
    "a check that is a list": ({"Healthcheck": [1]}, "not a JSON object"),
    "a check by text": ({"Healthcheck": {"Test": "true"}}, "Test has the wrong type"),
    "an interval by text": ({"Healthcheck": {"Interval": "5s"}}, "Interval has the wrong type"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be(what: str) -> None:
    value, text = BAD[what]
    with pytest.raises(BadImage, match=text) as caught:
        image_config.read(value)
    assert caught.value.message.isprintable()


def test_a_folder_beside_the_systems() -> None:
    found = image_config.read({"Volumes": {"/process": {}, "/devel": {}, "/system/x": {}}})
    assert found.volumes == ("/devel", "/process", "/system/x")
