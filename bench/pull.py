"""How long a cold pull takes beside `ctr images pull`: A B A B on one containerd.

python -m bench.pull [--mib 300] [--layers 8] [--pairs 4]

The image lies in Debian's docker-registry on loopback, behind TLS. Both sides pull and unpack it
into the same containerd; after each pull it is removed with its content, so that each is cold for
containerd (the registry's files are in the page cache for both). Exit code 1 if the ratio of the
medians is above the goal, or the agent's memory grew by more than the goal while it pulled.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import psutil

from bench.lab.agent import PrivateAgent
from bench.lab.certificates import Authority
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import layout_of, tar_of
from bench.lab.registry import PrivateRegistry
from longshore.cli import units
from longshore.cli.output import Column, print_table
from longshore.local.client import LocalClient

MIB = 2**20
GOAL = 1.15
#: Bytes by which the agent's resident memory may grow while it pulls.
MEMORY_GOAL = 30 * MIB
_FILE = 4 * MIB
_CTR_TIMEOUT = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.pull")
    parser.add_argument("--mib", type=int, default=300, help="size of the image")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=4, help="pulls each way")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lsh-pull-"))
    try:
        with _stage(folder, options.mib * MIB, options.layers) as stage:
            return _report(stage, options.pairs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def big_archive(path: Path, size: int, layers: int) -> Path:
    """An image of `layers` layers that are `size` bytes together, and hardly compress."""
    chance = random.Random(size)
    each = size // layers
    tars = [
        tar_of(
            {
                f"layer{number}/file{at // _FILE}": chance.randbytes(min(_FILE, each - at))
                for at in range(0, each, _FILE)
            }
        )
        for number in range(layers)
    ]
    path.write_bytes(tar_of(layout_of("big:latest", tars).members()))
    return path


class Stage:
    """The neighbours, and the image's name in the registry."""

    def __init__(
        self, containerd: PrivateContainerd, registry: PrivateRegistry, agent: PrivateAgent
    ) -> None:
        self._containerd = containerd
        self._client = LocalClient(agent.socket, _CTR_TIMEOUT)
        self._process = psutil.Process(agent.pid)
        self._hosts = registry.home / "hosts"
        self.image = f"{registry.host}/big:1"
        settings = self._hosts / registry.host / "hosts.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(
            f'server = "{registry.url}"\n[host."{registry.url}"]\nca = "{registry.ca}"\n'
        )

    def by_agent(self) -> tuple[float, int]:
        """Seconds, and bytes by which the agent's memory grew."""
        with self._growth() as grown:
            took = _timed(self._pull)
        self._client.remove_image(self.image)
        self._client.prune_images()
        return took, grown()

    def by_ctr(self) -> float:
        # Its other options would have ctr take a registry on loopback for plain HTTP.
        took = _timed(
            lambda: self._ctr("images", "pull", "--hosts-dir", str(self._hosts), self.image)
        )
        self._ctr("images", "rm", "--sync", self.image)
        return took

    def close(self) -> None:
        self._client.close()

    def _ctr(self, *words: str) -> None:
        self._containerd.ctr(*words, namespace="bench", deadline=_CTR_TIMEOUT)

    def _pull(self) -> None:
        for _ in self._client.pull_image(self.image):
            pass

    @contextmanager
    def _growth(self) -> Iterator[Callable[[], int]]:
        before = most = self._process.memory_info().rss
        ended = threading.Event()

        def look() -> None:
            nonlocal most
            while not ended.wait(0.01):
                most = max(most, self._process.memory_info().rss)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield lambda: most - before
        finally:
            ended.set()
            thread.join()


@contextmanager
def _stage(folder: Path, size: int, layers: int) -> Iterator[Stage]:
    with ExitStack() as opened:
        authority = Authority(folder / "certificates")
        certificate = authority.issue("registry")
        registry = opened.enter_context(PrivateRegistry(folder, tls=certificate, ca=authority.pem))
        registry.push(big_archive(folder / "big.tar", size, layers), "big:1")
        (folder / "big.tar").unlink()
        settings = folder / "registries.toml"
        settings.write_text(registry.settings)
        containerd = opened.enter_context(PrivateContainerd(folder))
        agent = PrivateAgent(folder, containerd.socket, options={"images.registries": settings})
        opened.callback(agent.forget)
        opened.enter_context(agent)
        stage = Stage(containerd, registry, agent)
        opened.callback(stage.close)
        yield stage


def _report(stage: Stage, pairs: int) -> int:
    # The first of each warms the registry's files and both programs, and does not count; but the
    # agent's heap grows most then.
    growth = [stage.by_agent()[1]]
    stage.by_ctr()
    agent, ctr = [], []
    for _ in range(pairs):
        took, grown = stage.by_agent()
        agent.append(took)
        growth.append(grown)
        ctr.append(stage.by_ctr())
    ratio = median(agent) / median(ctr)
    rows = [_row("longshore pull", agent), _row("ctr images pull", ctr)]
    print_table([Column("COLD PULL"), *map(_right, ("MEDIAN", "MIN", "MAX"))], rows)
    print(f"ratio {ratio:.2f}; the goal is at most {GOAL}")
    print(
        f"the agent's memory grew by at most {units.size(max(growth))}; "
        f"the goal is {units.size(MEMORY_GOAL)}"
    )
    return 0 if ratio <= GOAL and max(growth) < MEMORY_GOAL else 1


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _row(name: str, seconds: list[float]) -> list[str]:
    return [name, *(f"{one:.2f} s" for one in (median(seconds), min(seconds), max(seconds)))]


def _right(name: str) -> Column:
    return Column(name, right=True)


if __name__ == "__main__":
    sys.exit(main())
