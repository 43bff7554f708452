"""The agent dies at any moment of a pull: the next life goes on with what has come, and only that.

What containerd has of each layer at a death is where the next life asks the registry to begin, and
what is complete is not asked for. In the end every blob is what its digest says, a container made
of the image reads what was put in, and nothing of the image outlives its removal.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256

import pytest

from bench.lab.image import Layout
from e2e.lab import Lab, until
from e2e.pulling import (
    MIB,
    Harbour,
    asked,
    check_resumed,
    containerd_of,
    files,
    image,
    layers,
    pull,
    sizes,
    stored,
)
from longshore.host.containerd import content
from longshore.local.client import LocalClient

#: Pulls, each killed so often.
PULLS, DEATHS = 4, 5
LAYERS, LAYER = 5, 5 * MIB
#: Seconds per 64 KiB of a connection, of which there are four: the whole takes a few tenths.
PAUSE = 0.003
#: Seconds after the last byte: then layers are unpacked, and the image gets its name.
AFTER = 0.05
#: Seconds within which a life that has something to fetch begins to.
BEGUN = 30.0
#: Seconds after which nothing more will come of a life that has it all.
QUIET = 0.6
READ = f"sha256sum {' '.join(f'/file{n}' for n in range(LAYERS))}; exec sleep 1000"


@pytest.fixture
def chance() -> random.Random:
    """Printed when the test fails, so that the round can be had again."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def test_killed_in_a_pull(harbour: Harbour, chance: random.Random) -> None:
    """Every other time a container waits for it, and nobody asks: it comes to run by itself."""
    lab, layout = harbour.lab, image("kill:1", LAYERS, LAYER)
    name = harbour.serve(layout, "kill:1")
    sums = [sha256(one).hexdigest() for one in files("kill:1", LAYERS, LAYER)]
    harbour.valve.pause, resumed = PAUSE, 0
    with ThreadPoolExecutor(1) as pool:
        for number in range(PULLS):
            spec = lab.spec(image=name, command=["sh", "-c", READ])
            seen, there = len(harbour.bad.seen), sizes(lab)
            if number % 2:
                lab.client.create(spec, wait="accepted")
            else:
                answer = pool.submit(pull, lab, name)
            for _ in range(DEATHS):
                _live(harbour, chance, layout, there)
                lab.agent.kill()
                left = sizes(lab)
                resumed += check_resumed(asked(harbour.bad, seen), there, layout, whole=False)
                seen, there = len(harbour.bad.seen), left
                lab.agent.start()
            if not number % 2:
                assert answer.result().name == name
                lab.client.create(spec)
            until(partial(_is_running, lab, spec["id"]))
            resumed += check_resumed(asked(harbour.bad, seen), there, layout, whole=True)
            assert until(partial(_read, lab, spec["id"])) == sums
            lab.client.delete(spec["id"], force=True)
            _check_blobs(lab, layout)
            harbour.forget(name)
    # Most lives go on in the midst of several layers.
    assert resumed >= PULLS * DEATHS


def test_a_pull_that_nobody_goes_on_with(harbour: Harbour) -> None:
    lab, name = harbour.lab, harbour.serve(image("lone:1", 2, MIB), "lone:1")
    harbour.valve.shut(after=MIB)
    with LocalClient(lab.agent.socket) as client:
        coming = client.pull_image(name)
        until(lambda: next(coming).done > 0)
        lab.agent.kill()
    lab.agent.start()
    # It waits for whoever asks next, and for as long as nobody tidies up.
    kinds = {line.partition(" ")[0] for line in stored(lab) if line not in harbour.before}
    assert {"ingest", "lease"} <= kinds
    assert lab.client.prune_images().bytes > 0
    assert stored(lab) == harbour.before


def _live(
    harbour: Harbour, chance: random.Random, layout: Layout, there: Mapping[str, int]
) -> None:
    """Up to a moment that lies anywhere in what is left of the pull."""
    size = sum(size - there.get(digest, 0) for digest, size in layers(layout).items())
    if size:
        # However busy the machine is, it has begun.
        harbour.valve.wait(1, BEGUN)
    moment = chance.uniform(0, 1 + AFTER)
    harbour.valve.wait(int(min(moment, 1) * size), QUIET)
    time.sleep(max(0, moment - 1))


def _is_running(lab: Lab, id: str) -> bool:
    return lab.client.show(id).state == "running"


def _read(lab: Lab, id: str) -> list[str]:
    """Its files' sums as the container sees them; none before all are there."""
    lines = b"".join(chunk.data for chunk in lab.client.logs(id)).decode().splitlines()
    return [line.split()[0] for line in lines] if len(lines) == LAYERS else []


def _check_blobs(lab: Lab, layout: Layout) -> None:
    with containerd_of(lab) as client:
        for digest, blob in layout.blobs.items():
            data = content.read(client, f"sha256:{digest}", len(blob))
            assert sha256(data).hexdigest() == digest
