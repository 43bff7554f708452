"""Does this node work? Run as root on an idle node where Longshore is installed and started.

    check_node [WORD]       everything but the reboot, or the checks whose names hold WORD
    check_node --reboot     once before a reboot of the node and once after

Prints a line per check and ends with 'N passed, N failed'; the exit code is 1 if any failed.
"""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence

from longshore.errors import LongshoreError
from vm import amid, configured, disk, images, limits, operating, outages, reboot, unit, work
from vm.node import CommandError, containers, load_image, remove_all, settle

CHECKS = (
    *(*unit.CHECKS, *work.CHECKS, *limits.CHECKS, *disk.CHECKS, *configured.CHECKS),
    *(*images.CHECKS, *outages.CHECKS, *operating.CHECKS, *amid.CHECKS),
)
_FAILURES = (AssertionError, CommandError, LongshoreError, OSError, RuntimeError,
             subprocess.SubprocessError)  # fmt: skip


def run(checks: Sequence[tuple[str, Callable[[], str]]]) -> int:
    """Every check, though earlier ones failed. Returns the exit code."""
    failed = 0
    for name, check in checks:
        try:
            print(f"ok    {name}: {' '.join(check().split())}", flush=True)
        except _FAILURES as error:
            failed += 1
            where = traceback.extract_tb(error.__traceback__)
            line = next(one for one in reversed(where) if "/vm/" in one.filename)
            print(f"FAIL  {name}: {line.line}: {error or 'is not so'}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return min(1, failed)


def main(arguments: Sequence[str]) -> int:
    word = next(iter(arguments), "")
    chosen = [check for check in CHECKS if word in check[0]]
    with_reboot = word == "--reboot"
    if len(arguments) > 1 or not (chosen or with_reboot):
        print(__doc__)
        return 2
    settle()
    if with_reboot and reboot.is_second_part():
        return run(reboot.AFTER)
    if there := containers():
        print(f"cannot check this node: it is not idle: {len(there)} containers (longshore ps -a)")
        return 2
    load_image()
    if with_reboot:
        return run(reboot.BEFORE)
    try:
        return run(chosen)
    finally:
        remove_all()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
