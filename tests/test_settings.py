"""SIGHUP without the signal: what is read again, what is not, and what a broken file changes."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from longshore import daemon
from longshore.config import Config, load
from longshore.errors import InvalidRequest
from longshore.model.policy import DeviceRule
from longshore.options import OPTIONS
from longshore.settings import Reload, Settings, settings

GOOD = """
[policy]
allow_privileged = true
allowed_devices = /dev/fuse:rw,/dev/snd
[volumes]
roots = /srv,/data
[reserve]
cpus = 1.5
[flavors]
file = {folder}/flavors.toml
"""


class Agent:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "longshore.conf"
        self.write(GOOD)
        self.config: Config = load([], [self.file])
        self.applied: list[Settings] = []
        self.told = 0
        self.reload = Reload(self.config, self.applied.append, self.tell)

    def tell(self) -> None:
        self.told += 1

    def write(self, text: str) -> None:
        self.file.write_text(text.format(folder=self.folder))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """A reload sets the levels of many loggers, and other tests look at what they say."""
    root = logging.getLogger()
    before = {name: logging.getLogger(name).level for name in root.manager.loggerDict}
    whole = root.level
    yield Agent(tmp_path)
    root.setLevel(whole)
    for name in list(root.manager.loggerDict):
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))


def test_what_the_configuration_says(agent: Agent) -> None:
    found = settings(agent.config)
    assert found.rules.allow_privileged
    assert found.rules.devices == (DeviceRule("/dev/fuse", "rw"), DeviceRule("/dev/snd", "rwm"))
    assert "net.core.somaxconn" in found.rules.sysctls
    assert found.roots == (Path("/srv"), Path("/data"))
    assert found.shares["cpus"].reserved == 1.5


def test_a_change(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    changed = GOOD.replace("true", "false").replace("/srv,", "") + "[network]\nmtu = 1400\n"
    agent.write(changed)
    (agent.folder / "flavors.toml").write_text("[flavor.small]\nlimits.cpus = 1\n")
    with caplog.at_level(logging.INFO, logger="longshore"):
        assert agent.reload.run()
    (applied,) = agent.applied
    assert not applied.rules.allow_privileged
    assert applied.roots == (Path("/data"),)
    assert list(applied.flavors.by_name) == ["small"]
    assert "changed: [volumes] roots, [policy] allow_privileged" in caplog.text
    assert agent.reload.findings() == ["needs a restart of the agent: [network] mtu"]
    assert agent.told == 1
    # As long as it is not restarted; and nothing else is told again.
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="longshore"):
        assert agent.reload.run()
    assert "changed: nothing" in caplog.text
    assert agent.reload.findings() == ["needs a restart of the agent: [network] mtu"]
    agent.write(GOOD)
    assert agent.reload.run()
    assert agent.reload.findings() == []


def test_log_levels(agent: Agent) -> None:
    agent.write(f"[DEFAULT]\ndefault_log_levels = amqp=DEBUG\n{GOOD}")
    assert agent.reload.run()
    assert logging.getLogger("amqp").level == logging.DEBUG
    assert agent.reload.findings() == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD.replace("true", "perhaps"), "perhaps"),
        (GOOD.replace("/dev/fuse:rw", "dev/fuse"), "allowed_devices"),
        (GOOD.replace("[policy]", "[policy"), "longshore.conf"),
        (GOOD + "[network]\nsubnet = moon\n", "moon"),
        ("[DEFAULT]\nlog_config_append = {folder}/none\n" + GOOD, "/none"),
        (GOOD.replace("{folder}/flavors.toml", "{folder}"), "cannot use"),
    ],
)
def test_a_broken_file_changes_nothing(
    agent: Agent, text: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent.write(text)
    assert not agent.reload.run()
    (finding,) = agent.reload.findings()
    assert "the old one goes on" in finding
    assert why in finding
    assert why in caplog.text
    assert agent.applied == []
    assert agent.config.policy.allow_privileged
    agent.write(GOOD)
    assert agent.reload.run()
    assert agent.reload.findings() == []


def test_a_file_that_is_gone(agent: Agent) -> None:
    agent.file.unlink()
    assert not agent.reload.run()
    with pytest.raises(InvalidRequest):
        load([], [agent.file])


def test_what_may_change_is_said_in_one_place() -> None:
    groups = {group for group, options in OPTIONS.items() if any(one.mutable for one in options)}
    assert groups == {"volumes", "policy", "flavors", "reserve", "overcommit"}


def test_a_fault_in_a_reload_costs_the_reload_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    me = threading.get_ident()

    class Faulty:
        journal = SimpleNamespace(ids=set)

        def __init__(self, config: object) -> None:
            signal.pthread_kill(me, signal.SIGHUP)

        def reload(self) -> bool:
            signal.pthread_kill(me, signal.SIGTERM)
            raise RuntimeError("a fault of ours")

        def stop(self) -> bool:
            return True

    monkeypatch.setattr(daemon, "Daemon", Faulty)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        assert daemon.serve(cast("Config", SimpleNamespace(node_name="here"))) == 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert "cannot finish reload: RuntimeError: a fault of ours" in caplog.text
