"""longshore-agent: the process. It reads its configuration, has everything built (`wiring`), tells
systemd that it lives, and heeds signals until one ends it."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import time

import sdnotify
from oslo_log import log

from longshore import __version__, journald
from longshore.config import Config, load, sample
from longshore.errors import InvalidRequest, LongshoreError
from longshore.lifecycle.pipeline import attempt
from longshore.wiring import Daemon

LOG = logging.getLogger(__name__)
#: Seconds between two proofs of life to systemd, and to the journal.
_HEARTBEAT = 5.0
_RELOAD = signal.SIGHUP
_SIGNALS = (signal.SIGTERM, signal.SIGINT, _RELOAD)
#: Objects made and not freed before the collector looks for cycles among them.
_YOUNG = 10_000
#: Of malloc.h. glibc would give our many short-lived threads eight heaps a core, which hold 40 MB
#: that nobody uses; two are enough where one thread at a time runs Python.
_M_ARENA_MAX, _ARENAS = -8, 2


def serve(config: Config) -> int:
    """Runs until SIGTERM or SIGINT, reloads on SIGHUP; returns the exit code."""
    # Waited for, and never handled: a handler may come while its own thread holds a lock. All
    # threads inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    systemd = sdnotify.SystemdNotifier()
    daemon = Daemon(config)
    # What was loaded and built by now stays: no later collection has to look through it. And one
    # that tells of many containers makes thousands of values that are no cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
    LOG.info("longshore-agent %s serves node %s", __version__, config.node_name)
    systemd.notify(f"READY=1\nSTATUS=serving node {config.node_name}")
    while (came := signal.sigtimedwait(_SIGNALS, _HEARTBEAT)) is None or came.si_signo == _RELOAD:
        if came is not None:
            # systemd tells by the time which signal this answers.
            systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            # A fault in it may cost the reload, never the agent.
            if error := attempt("reload", daemon.reload):
                LOG.error("%s", error)
            systemd.notify("READY=1")
        try:
            count = len(daemon.journal.ids())
        except LongshoreError as error:
            # Without its journal the agent can promise nothing: no proof of life for systemd.
            LOG.error("%s", error)
            continue
        systemd.notify(f"WATCHDOG=1\nSTATUS=serving node {config.node_name}, {count} containers")
    systemd.notify("STOPPING=1")
    LOG.info("longshore-agent leaves; containers go on")
    if daemon.stop():
        return 0
    LOG.warning("some work did not end in time; the next start goes on with it")
    logging.shutdown()
    # Threads that hang in a neighbour would hold up the interpreter's own end.
    os._exit(0)


def main() -> None:
    arguments = sys.argv[1:]
    if arguments == ["--print-config-sample"]:
        sys.stdout.write("\n".join(sample()) + "\n")
        return
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    try:
        config = load(arguments)
        if journald.reads_output() and not (config.raw.log_file or config.raw.log_dir):
            journald.adapt(config.raw)
        log.setup(config.raw, "longshore")
        code = serve(config)
    except LongshoreError as error:
        LOG.debug("not started", exc_info=True)
        hint = f"\nhint: {error.hint}" if error.hint else ""
        sys.stderr.write(f"longshore-agent: {error}{hint}\n")
        # The unit tries everything again but a configuration that nobody has mended.
        code = os.EX_CONFIG if isinstance(error, InvalidRequest) else 1
    sys.exit(code)


if __name__ == "__main__":
    main()
