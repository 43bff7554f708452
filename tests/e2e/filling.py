"""Containers that write until they may not, on any node that can limit their disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.lab.image import BUSYBOX, base_layer, layout_of, tar_of
from bench.lab.programs import programs_layer
from e2e.lab import Lab, until
from longshore.model.status import ContainerStatus

MIB = 2**20
#: Of the limit; the image alone has more.
SIZE, IMAGE_SIZE = 16 * MIB, 24 * MIB
IMAGE = "big:1"
#: Both are right: xfs says the one, the others the other.
_FULL = ("No space left on device", "Disk quota exceeded")
#: Programs of the host that ask for what would lead around the limit: an attribute is set by the
#: call that also takes a file out of its project, and a subvolume may count for itself alone.
_PROGRAMS = [Path("/usr/bin/chattr"), Path("/usr/bin/btrfs")]
_HOG = """
touch /x; /usr/bin/chattr +d /x && echo around
/usr/bin/btrfs subvolume create /y >&2 && echo around
dd if=/dev/zero of=/mine bs=64k; stat -c %s /mine; wc -c </big
rm /mine && dd if=/dev/zero of=/again bs=64k count=16 && echo again
exec sleep 600
"""
_WRITER = "dd if=/dev/zero of=/mine bs=1M count={mib} && sync && echo fine; exec sleep 600"
_FREE = "touch /x; /usr/bin/chattr +d /x && "
#: Seconds; an emulated node takes its time.
_PATIENCE = 180.0


def load_big(lab: Lab) -> None:
    archive = lab.agent.archives / "big.tar"
    layers = [base_layer(), programs_layer(_PROGRAMS), tar_of({"big": bytes(IMAGE_SIZE)})]
    archive.write_bytes(tar_of(layout_of(IMAGE, layers).members()))
    assert BUSYBOX.stat().st_size + IMAGE_SIZE > SIZE
    with archive.open("rb") as file:
        lab.client.load_image(file)
    archive.unlink()


def fills_its_own_alone(lab: Lab) -> tuple[ContainerStatus, str]:
    """One container gets no more than its limit, and no way around it; what the image has does not
    count, what it removes is free again, and two others on the same disk write on. Returns the
    first, and what it was told."""
    hog = lab.client.create(_spec(lab, _HOG, SIZE))
    assert hog.limits is not None
    assert hog.limits.disk == SIZE
    until(lambda: "again" in told(lab, hog), _PATIENCE)
    written, of_image, _ = told(lab, hog).split()
    assert SIZE * 0.8 < int(written) <= SIZE
    assert int(of_image) == IMAGE_SIZE
    said = told(lab, hog, "stderr")
    assert said.count("Operation not permitted") == 2, said
    why = next(one for one in _FULL if one in said)
    others = [
        lab.client.create(_spec(lab, _WRITER.format(mib=8), SIZE)),
        lab.client.create(_spec(lab, _FREE + _WRITER.format(mib=32), None)),
    ]
    for one in others:
        until(partial(told, lab, one), _PATIENCE)
        assert told(lab, one) == "fine\n"
        lab.client.delete(one.id, force=True)
    return hog, why


def told(lab: Lab, one: ContainerStatus, stream: str = "stdout") -> str:
    return (lab.agent.state_dir / "containers" / one.id / f"{stream}.log").read_text()


def _spec(lab: Lab, script: str, size: int | None) -> dict[str, object]:
    limits = {} if size is None else {"disk": size}
    return lab.spec(image=IMAGE, command=["sh", "-c", script], limits=limits, nics=[])
