"""The command `longshore`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import click

from longshore.cli import (
    agent,
    archives,
    commit,
    completion,
    containers,
    cp,
    diff,
    errors,
    events,
    execs,
    explain,
    flavors,
    follow,
    images,
    inspect,
    listing,
    node,
    operating,
    output,
    planning,
    run,
    spec_options,
    stats,
    top,
    transfers,
    updating,
    upkeep,
    versions,
    volumes,
)
from longshore.errors import LongshoreError

#: Not listed: what docker's users type for `image …`.
_DOCKERS = {"images": "ls", "rmi": "rm", "tag": "tag", "load": "load", "save": "save"}


class Program(click.Group):
    """Every failure ends as one line, a hint where there is one, and a documented exit code."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _DOCKERS:
            return images.image.get_command(ctx, _DOCKERS[cmd_name])
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LongshoreError as error:
            errors.show(error, as_json=ctx.meta.get(output.META) == "json")
            ctx.exit(errors.exit_code(error))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        del prog_name, standalone_mode
        try:
            code = super().main(
                args, completion.PROGRAM, complete_var, standalone_mode=False, **extra
            )
        except click.Abort:
            sys.exit(errors.INTERRUPTED)
        except click.ClickException as error:
            errors.show_usage(error)
            sys.exit(error.exit_code)
        except OSError as error:  # of a pipe that nobody reads any more click thinks itself
            errors.show_unwritten(error)
            # What could not be written would be tried, and told of, once more at the exit.
            sys.stdout = None  # as Python has it where there is none
            sys.exit(errors.FAILED)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=Program, epilog=errors.HELP)
@click.option(
    "--socket",
    # Whether it may be used is told by the attempt, with a better hint than click's.
    type=click.Path(path_type=Path, readable=False),
    default=agent.DEFAULT_SOCKET,
    envvar="LONGSHORE_SOCKET",
    show_default=True,
    show_envvar=True,
    help="Where the agent listens.",
)
@click.option(
    "--timeout",
    type=spec_options.SECONDS,
    default=agent.DEFAULT_TIMEOUT,
    envvar="LONGSHORE_TIMEOUT",
    show_default=True,
    show_envvar=True,
    help="Seconds that an answer is waited for.",
)
@click.version_option(version("longshore"), message="%(version)s")
def cli(socket: Path, timeout: float) -> None:
    """Containers of this node, by way of its agent."""
    del socket, timeout  # read from the root context, by completion as well


for command in (
    node.status,
    run.run,
    run.create,
    execs.exec_,
    execs.attach,
    containers.start,
    containers.stop,
    operating.restart,
    operating.kill,
    operating.pause,
    operating.unpause,
    operating.rename,
    containers.rm,
    listing.ps,
    inspect.inspect,
    explain.explain,
    follow.logs,
    events.events,
    stats.stats,
    top.top,
    transfers.pull,
    transfers.push,
    commit.commit,
    upkeep.wait,
    planning.plan,
    updating.update,
    updating.rollback,
    updating.rebuild,
    versions.versions,
    upkeep.container,
    cp.cp,
    diff.diff,
    images.image,
    volumes.volume,
    flavors.flavor,
    flavors.fits,
    completion.completion,
):
    cli.add_command(command)


for command in (transfers.pull, transfers.push, archives.load, archives.save):
    images.image.add_command(command)


def main() -> NoReturn:
    cli.main()
