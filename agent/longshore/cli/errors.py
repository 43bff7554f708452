"""What a failure looks like, and the exit code that a script can act on.

    0    done
    1    the agent refused it, or it failed
    2    the command line, or what it asks for, is wrong
    3    there is no such container or image
    4    the agent, or what it needs (a registry), cannot be reached; the same may work later
    5    it clashes with what is there (name, port, address, state, an image in use)
    6    no answer in time: it may have happened; look, or ask again
    130  interrupted

`longshore run` without -d ends with the code of the container's process. Its own failures are
125 there, as with docker; 126 when the container's process could not be started, 127 when its
command was not found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from longshore import errors
from longshore.errors import InvalidSpec, LongshoreError

FAILED, USAGE, INTERRUPTED = 1, 2, 130
_CODES: Mapping[type[LongshoreError], int] = {
    LongshoreError: FAILED,
    errors.InvalidRequest: USAGE,
    errors.PolicyForbids: FAILED,
    errors.NotFound: 3,
    errors.HostUnavailable: 4,
    errors.HostBusy: 4,
    errors.ImageSourceUnavailable: 4,
    errors.Interrupted: 4,
    errors.AgentBusy: 4,
    errors.NodeUnreachable: 4,
    errors.BrokerUnavailable: 4,
    errors.Conflict: 5,
    errors.DeadlineExceeded: 6,
}
_RUN_CODES: Mapping[type[LongshoreError], int] = {
    LongshoreError: 125,
    errors.StartFailed: 126,
    errors.CommandNotFound: 127,
}
HELP = "\n".join(["\b", "Exit codes:", *(__doc__ or "").splitlines()[2:10]])


def exit_code(error: LongshoreError) -> int:
    return _nearest(_CODES, error)


def run_exit_code(error: LongshoreError) -> int:
    """For `run` in the foreground, where the other codes are the container's."""
    return _nearest(_RUN_CODES, error)


def show(error: LongshoreError, *, as_json: bool = False) -> None:
    """One line and a hint, on stderr; or the whole error as JSON."""
    if as_json:
        click.echo(json.dumps(error.to_dict()), err=True)
        return
    click.echo(f"longshore: {error.message or error.code}", err=True)
    faults = error.faults if isinstance(error, InvalidSpec) else ()
    for fault in faults[1:]:
        click.echo(f"  also: {fault['field']}: {fault['why']}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def show_usage(error: click.ClickException) -> None:
    message = error.format_message().rstrip(".")
    click.echo(f"longshore: {message[:1].lower()}{message[1:]}", err=True)
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        click.echo(f"hint: {context.command_path} --help", err=True)


def show_unwritten(error: OSError) -> None:
    click.echo(f"longshore: cannot write the output: {error.strerror or error}", err=True)


def _nearest(table: Mapping[type[LongshoreError], int], error: LongshoreError) -> int:
    return next(table[cls] for cls in type(error).__mro__ if cls in table)
