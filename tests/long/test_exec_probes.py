"""Ten thousand commands in one container: the shim, which serves them all, stays as it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from e2e.lab import Lab, until

COUNT, WARM, AT_ONCE = 10_000, 500, 4
#: By how much resident memory may differ, in bytes: Go's heap breathes.
FLAT = 4 * 2**20


@dataclass(frozen=True)
class Held:
    rss: int
    files: int
    threads: int


@pytest.mark.timeout(3600)
def test_ten_thousand(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    one = lab.client.create(lab.spec(command=["sleep", "86400"], nics=[]))
    shim = psutil.Process(one.pid).parent()
    assert shim is not None
    agent = psutil.Process(lab.agent.pid)

    def probe(number: int) -> int:
        # Now and then one that has to be killed, and one that cannot be run.
        if number % 100 == 1:
            return lab.client.execute(
                one.id, ["sh", "-c", "sleep 9 & sleep 9"], timeout=0.1
            ).exit_code
        return lab.client.execute(one.id, ["true"]).exit_code

    def probes(count: int) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            codes = list(pool.map(probe, range(count)))
        assert codes.count(0) == count - count // 100
        assert codes.count(137) == count // 100

    probes(WARM)
    before = {one.pid: _held(one) for one in (shim, agent)}
    probes(COUNT)
    after = {one.pid: _held(one) for one in (shim, agent)}
    with capsys.disabled():
        print(f"\nshim: {before[shim.pid]} → {after[shim.pid]}")
        print(f"agent: {before[agent.pid]} → {after[agent.pid]}")
    until(lambda: all(_held(one).files <= before[one.pid].files for one in (shim, agent)))
    assert after[shim.pid].rss <= before[shim.pid].rss + FLAT
    # Each outcome is in the journal, which is on disk: the agent's own memory stays too.
    assert after[agent.pid].rss <= before[agent.pid].rss + 4 * FLAT
    assert list(Path(lab.agent.run_dir / "stdio").glob("*/*")) == []
    # Those that were killed are its first process's to reap, and this one reaps none.
    statuses = {child.status() for child in psutil.Process(one.pid).children()}
    assert statuses <= {psutil.STATUS_ZOMBIE}
    lab.client.delete(one.id, force=True)


def _held(process: psutil.Process) -> Held:
    return Held(process.memory_info().rss, process.num_fds(), process.num_threads())
