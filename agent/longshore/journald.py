"""Log lines for systemd's journal, which stamps each with the time and the process by itself."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

#: logging's levels as syslog has them: `journalctl -p warning` goes by these.
_PRIORITIES = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
_PREFIX = "<%(priority)d>%(levelname)s %(name)s: "


def reads_output() -> bool:
    """Whether stdout, where oslo.log writes unless told otherwise, goes straight to the journal."""
    try:
        there = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"


def adapt(conf: Any) -> None:
    """Sets oslo.log's defaults for the journal; what the user configured stays.

    Args:
        conf: the oslo.config options, with oslo.log's registered.
    """
    make = logging.getLogRecordFactory()

    def with_priority(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.priority = _PRIORITIES.get(record.levelno, 6)
        return record

    logging.setLogRecordFactory(with_priority)
    for option in ("logging_default_format_string", "logging_context_format_string"):
        conf.set_default(option, f"{_PREFIX}%(message)s")
    conf.set_default("logging_exception_prefix", _PREFIX)
