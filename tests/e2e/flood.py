"""A container that writes blocks of numbered lines at some rate, and what is known of its log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from e2e.lab import Lab
from longshore.model.status import LogChunk

#: Bytes of a line with its end.
LINE = 128
#: One block after the other, each under a line with its number and the time, `rate` in a hundred
#: seconds; a second line on stderr, how many there were, once it is done.
_SCRIPT = """
up() { read -r now rest < /proc/uptime; now=${now%%.*}${now#*.}; }
up; first=$now; n=0
while [ $n -lt %(blocks)d ]; do
    up
    if [ $((n * 10000)) -gt $(((now - first) * %(rate)d)) ]; then usleep 2000; continue; fi
    printf '=%%09d %%s\\n' $n $(date +%%s)
    cat /data/block
    n=$((n + 1))
done
echo $n >&2
sleep 1000
"""


@dataclass(frozen=True)
class Flood:
    """`lines` in each block."""

    lab: Lab
    id: str
    lines: int

    @property
    def folder(self) -> Path:
        return self.lab.agent.state_dir / "containers" / self.id

    def disk(self) -> int:
        """Bytes that the container's logs and their indexes have."""
        logs = [*self.folder.glob("std*.log"), *self.folder.glob(".std*.index")]
        return sum(one.stat().st_blocks * 512 for one in logs)

    def is_over(self) -> bool:
        return (self.folder / "stderr.log").stat().st_size > 0

    def seen(self, **choice: float) -> Seen:
        """What there is, of its time; with `until` also while it writes."""
        return Seen(self.lines).read(
            self.lab.client.logs(self.id, stream="stdout", **choice)  # type: ignore[arg-type]  # numbers all
        )


def flood(lab: Lab, *, blocks: int, lines: int, rate: int) -> Flood:
    """Begins one of `blocks` blocks, `rate` of them in a hundred seconds."""
    folder = lab.volume("flood")
    (folder / "block").write_text("".join(f"{number:0{LINE - 1}d}\n" for number in range(lines)))
    spec = lab.spec(
        command=["sh", "-c", _SCRIPT % {"blocks": blocks, "rate": rate}],
        mounts=[{"type": "bind", "source": str(folder), "target": "/data"}],
    )
    return Flood(lab, lab.client.create(spec).id, lines)


@dataclass
class Seen:
    """Reads what was written, and fails where a line is not whole or one is missing.

    `blocks`: number and Unix second of each block of which the first line was there, since the last
    of `gaps`, where the reader was overtaken.
    """

    lines: int
    blocks: list[tuple[int, int]] = field(default_factory=list)
    size: int = 0
    gaps: int = 0
    _offset: int = 0
    _next: int | None = None
    _rest: bytes = b""

    def read(self, chunks: Iterable[LogChunk]) -> Seen:
        for chunk in chunks:
            if chunk.offset != self._offset and self.size:
                assert chunk.offset > self._offset
                self.gaps += 1
                self._next = None
                self.blocks.clear()
            self._offset = chunk.offset + len(chunk.data)
            self.size += len(chunk.data)
            whole = (self._rest + chunk.data).split(b"\n")
            self._rest = whole.pop()
            for line in whole:
                self._line(line)
        return self

    @property
    def at_end(self) -> bool:
        return self._next == self.lines and not self._rest

    def _line(self, line: bytes) -> None:
        if line.startswith(b"="):
            number, second = map(int, line[1:].split())
            assert self._next in (None, self.lines), f"block {number} begins after {self._next}"
            assert not self.blocks or self.blocks[-1][0] == number - 1, (self.blocks[-1], number)
            self.blocks.append((number, second))
            self._next = 0
            return
        assert len(line) == LINE - 1, line
        number = int(line)
        assert self._next in (None, number), f"line {number} follows {self._next}"
        self._next = number + 1
