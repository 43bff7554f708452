"""`update`, `rollback`, `rebuild`: another configuration for containers that are there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from longshore.cli import agent, credentials, making, progress
from longshore.cli.each import each
from longshore.cli.output import examples, output_option, print_json, print_table
from longshore.cli.planning import asked, change_options, columns, rows
from longshore.cli.transfers import Policy, attended, left_by_signal
from longshore.errors import ContainerNotFound
from longshore.local.client import LocalClient
from longshore.model.patches import RECREATE, most
from longshore.model.request import ACCEPTED
from longshore.model.status import ContainerStatus, FieldChange
from longshore.model.transfer import PullPolicy

F = TypeVar("F", bound=Callable[..., Any])
_ALIVE = ("running", "paused")
_WAS_IS = columns("WAS", "IS")


def _when_options(command: F) -> F:
    more = [
        click.option("--apply", type=click.Choice(["now", "restart"]), default="now",
                     show_default=True, help="At once, or once it is started again anyway."),
        click.option("--detach", "-d", is_flag=True,
                     help="Do not wait for what becomes of the new version."),
    ]  # fmt: skip
    for decorate in reversed(more):
        command = decorate(command)
    return command


@click.command(
    short_help="Change containers.",
    epilog=examples(
        "longshore update --memory 1g web db",
        "longshore update -e LEVEL=info --env-rm DEBUG web",
        "longshore update --apply restart --command 'httpd -f -p 8080' web",
        'longshore update --patch \'{"restart": {"policy": "always"}}\' web',
    ),
)
@agent.ref_argument(many=True)
@output_option()
@_when_options
@change_options
@click.pass_context
def update(
    context: click.Context,
    /,
    *,
    refs: Sequence[str],
    output: str,
    apply: str,
    detach: bool,
    **given: Any,
) -> None:
    """Give containers another configuration; `plan` tells what that takes.

    What the kernel can change is changed while they run. For the rest they are started again, with
    the same files, addresses, ports and volumes. A version that cannot be started, ends, or is not
    healthy in time is taken back by itself, and the former is started. Ctrl-C leaves that to the
    agent. Options as those of `plan`.
    """
    client, patch = agent.connect(context), asked(given)
    wait = ACCEPTED if detach else None

    def change(ref: str) -> ContainerStatus:
        with _told(client, ref, f"the update of {ref}", output, detach=detach) as told:
            told.now = client.update(ref, patch, apply=apply, wait=wait)
        return told.status

    each(context, refs, change, output, lambda _: None)


@click.command(
    short_help="Give a container a former configuration.",
    epilog=examples("longshore rollback web", "longshore rollback web 3"),
)
@agent.ref_argument()
@click.argument("version", type=click.IntRange(min=1), required=False)
@output_option()
@_when_options
@click.pass_context
def rollback(
    context: click.Context, ref: str, version: int | None, output: str, apply: str, *, detach: bool
) -> None:
    """Change CONTAINER to what its version VERSION was, or the last good one before its present.

    It is an update like any other, and gets a number of its own. `versions` lists them.
    """
    client = agent.connect(context)
    wait = ACCEPTED if detach else None
    with _told(client, ref, f"the rollback of {ref}", output, detach=detach) as told:
        told.now = client.rollback(ref, version, apply=apply, wait=wait)
    if output == "json":
        print_json(told.status.to_dict())


@click.command(
    short_help="Make a container anew of another image.",
    epilog=examples("longshore rebuild web web:2", "longshore rebuild --pull always web web:2"),
)
@click.option(
    "--pull", type=Policy(), default="if-not-present", show_default=True,
    help="When to ask its source.",
)  # fmt: skip
@credentials.auth_options
@click.option("--detach", "-d", is_flag=True, help="Do not wait until it runs again.")
@click.option("--quiet", "-q", is_flag=True, help="Not how the image comes.")
@agent.ref_argument()
@click.argument("image", shell_complete=agent.complete_image)
@output_option()
@click.pass_context
def rebuild(
    context: click.Context,
    /,
    *,
    ref: str,
    image: str,
    pull: str,
    detach: bool,
    quiet: bool,
    output: str,
    **given: Any,
) -> None:
    """Make CONTAINER anew of IMAGE, with the same addresses, ports, volumes and configuration.

    What it wrote into its own layer is gone, so nothing takes it back. It is stopped only once the
    image is here.
    """
    auth, policy = credentials.auth(given), PullPolicy(pull)
    client = agent.connect(context)
    begin = making.fetch(client, image, policy, auth)
    if begin is not None:
        attended(
            begin, progress.view(quiet=quiet), f"left the pull of {image}; {ref} stays as it is"
        )
    with left_by_signal(f"left the rebuild of {ref}; it goes on: longshore explain {ref}"):
        now = client.rebuild(ref, image, policy, auth, wait=ACCEPTED if detach else None)
    if output == "json":
        print_json(now.to_dict())
    elif now.pending_version is not None:
        click.echo(f"{ref}: version {now.pending_version} is on its way, made of {image}")
    elif now.state in _ALIVE:
        click.echo(f"{ref}: version {now.version} is in use, made of {image}")
    else:
        click.echo(f"{ref}: version {now.version} is made of {image} once it is started")


@dataclass
class _Told:
    """`now`: what came of it."""

    now: ContainerStatus | None = None

    @property
    def status(self) -> ContainerStatus:
        assert self.now is not None
        return self.now


@contextlib.contextmanager
def _told(
    client: LocalClient, ref: str, what: str, output: str, *, detach: bool
) -> Iterator[_Told]:
    """Tells for people what a change did, and when it was left by a signal."""
    told, before = _Told(), client.show(ref)
    with left_by_signal(f"left {what}; it goes on: longshore versions {ref}"):
        yield told
    now = told.status
    number = now.pending_version or now.version
    changes: Sequence[FieldChange] = ()
    if output == "table" and number != before.version:
        # One that was to end, and to be removed then, may have done so.
        with contextlib.suppress(ContainerNotFound):
            changes = client.compare_versions(before.id, before.version, number)
    if output == "table":
        if changes:
            print_table(_WAS_IS, rows(changes))
        click.echo(f"{ref}: {effect(before, now, changes, detach=detach)}")


def effect(
    before: ContainerStatus, now: ContainerStatus, changes: Sequence[FieldChange], *, detach: bool
) -> str:
    """Which version a container has now, and what that took."""
    number = now.pending_version or now.version
    if number == before.version:
        return f"nothing changed; version {number} is in use"
    if detach and (now.pending_version is not None or now.previous_version is not None):
        return f"version {number} is on its way"
    if now.pending_version is not None:
        return f"version {number} waits until it is started again"
    if now.started_at != before.started_at:
        anew = most(changes) == RECREATE
        how = "made anew around its files" if anew else "started again"
        return f"version {number} is in use; it was {how}"
    if now.state in _ALIVE:
        return f"version {number} is in use; its process went on"
    return f"version {number} is what it will be started with"
