"""The command: runs the demo, leaves it running, or ends one that was left.

Exit codes: 0 all is as promised; 1 something is not, be it only the speed of a create;
2 wrong arguments; 130 interrupted, 143 terminated. Whatever happens, and unless --keep was given,
nothing of it is left.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc

from bench.demo import story
from bench.demo.screen import Broken, Screen
from bench.demo.stage import Stage
from bench.lab.signals import exit_on_sigterm
from longshore.errors import LongshoreError

_FAILURES = (
    Broken,
    LongshoreError,
    RuntimeError,
    LookupError,
    OSError,
    grpc.RpcError,
    subprocess.SubprocessError,
)


def main(arguments: Sequence[str]) -> int:
    options = _parsed(arguments)
    if os.geteuid() != 0:
        print("cannot run the demo: it starts containers, which only root may", file=sys.stderr)
        return 1
    stage, screen = Stage(), Screen()
    try:
        with stage.alone(), exit_on_sigterm():
            # What the libraries have to say about connections belongs to no step.
            logging.basicConfig(filename=stage.pointer.with_name("demo.log"), filemode="w")
            if options.stop:
                ended = stage.clear()
                print("the demo is ended and removed" if ended else "there is no demo to end")
                _nothing_left(stage, screen)
                return 0
            return _run(stage, screen, options)
    except _FAILURES as error:
        return _failed(stage, error)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def _run(stage: Stage, screen: Screen, options: argparse.Namespace) -> int:
    stage.forget_logs()
    if stage.clear():
        print("an earlier demo was still there: ended and removed")
    stays, next_steps = False, ""
    try:
        print(f"Longshore's main job, on real neighbours; its folder is {stage.folder}")
        story.tell(stage, screen, options.creates, goal=options.goal)
        if options.keep:
            with screen.step("Create the container once more, to stay"):
                next_steps = story.stay(stage, screen)
            stays = True
        else:
            with screen.step("End everything, and look over the host"):
                stage.clear()
                _nothing_left(stage, screen)
    except _FAILURES as error:
        logging.getLogger("demo").error("failed", exc_info=error)
        stage.keep_logs()
        raise
    finally:
        if not stays:
            with _undisturbed():
                stage.clear()
    screen.durations()
    if stays:
        screen.heading("All of it goes on running. To try next:")
        screen.say(next_steps)
    return 0


def _nothing_left(stage: Stage, screen: Screen) -> None:
    left = stage.left()
    what = "no process, mount, interface, nft table, cgroup or file of the demo is on the host"
    screen.holds(what, not left, left)


def _failed(stage: Stage, error: Exception) -> int:
    if isinstance(error, BrokenPipeError):
        # Nobody reads on; without this, the interpreter's own last flush would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    sys.stdout.flush()
    print(f"\nthe demo has failed: {error}", file=sys.stderr)
    if isinstance(error, LongshoreError) and error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    if stage.kept_logs.exists():
        print(f"what each one logged: {stage.kept_logs}", file=sys.stderr)
    return 1


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C would leave half of it behind."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave all running at the end")
    parser.add_argument("--stop", action="store_true", help="end what --keep left running")
    parser.add_argument(
        "--creates", type=int, default=20, metavar="N", help="containers to compare (20)"
    )
    parser.add_argument(
        "--no-goal",
        dest="goal",
        action="store_false",
        help="report the ratio of a create to bare calls, and do not judge it",
    )
    options = parser.parse_args(arguments)
    if options.creates < 1:
        parser.error("--creates must be at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
