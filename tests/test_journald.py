"""What the agent logs when its output is systemd's journal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from oslo_config import cfg
from oslo_log import log
from longshore import journald
conf = cfg.ConfigOpts()
log.register_options(conf)
conf(sys.argv[1:])
if journald.reads_output():
    journald.adapt(conf)
log.setup(conf, "longshore")
LOG = log.getLogger("longshore.x")
LOG.info("begun")
try:
    {}["k"]
except KeyError:
    LOG.exception("lost")
LOG.warning("odd")
"""


def lines(tmp_path: Path, *options: str, journal: bool) -> list[str]:
    with (tmp_path / "output").open("w+") as output:
        there = os.fstat(output.fileno())
        stream = f"{there.st_dev}:{there.st_ino}" if journal else "1:1"
        subprocess.run(
            [sys.executable, "-c", PROGRAM, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "JOURNAL_STREAM": stream},
            check=True,
            timeout=60,
        )
        output.seek(0)
        return output.read().splitlines()


def test_the_journal_gets_the_priority_and_no_time(tmp_path: Path) -> None:
    told = lines(tmp_path, journal=True)
    assert told[0] == "<6>INFO longshore.x: begun"
    assert told[1] == "<3>ERROR longshore.x: lost: KeyError: 'k'"
    assert {line[:3] for line in told[2:-1]} == {"<3>"}, "every line of the traceback"
    assert told[-1] == "<4>WARNING longshore.x: odd"


@pytest.mark.parametrize(
    ("options", "journal"),
    [([], False), (["--config-file", "own"], True)],
    ids=["a terminal", "a format of the user's own"],
)
def test_elsewhere_it_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], journal: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own").write_text("[DEFAULT]\nlogging_default_format_string = mine %(message)s\n")
    told = lines(tmp_path, *options, journal=journal)
    assert told[0].endswith(" begun")
    assert not told[0].startswith("<")
