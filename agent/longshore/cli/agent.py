"""The way to the agent from a command, and names completed from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
from click.shell_completion import CompletionItem

from longshore.errors import LongshoreError
from longshore.local.client import LocalClient
from longshore.model.reference import DEFAULT_DOMAIN

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_SOCKET = Path("/run/longshore/agent.sock")
DEFAULT_TIMEOUT = "60"
#: A shell that completes a word should not seem to hang.
_COMPLETION_TIMEOUT = 1.5
#: What a name has where the user's has no registry (`model.reference`).
_HUB, _LIBRARY = f"{DEFAULT_DOMAIN}/", "library/"


def connect(context: click.Context) -> LocalClient:
    """The agent that --socket names; closed when the command ends."""
    parameters = context.find_root().params
    client = LocalClient(parameters["socket"], parameters["timeout"])
    return context.with_resource(client)


def complete_container(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names and ids that begin so; none when there is no agent to ask."""
    del parameter
    return _complete(
        context,
        lambda client: (
            [
                CompletionItem(one.name, help=f"{one.state}, {one.image}")
                for one in client.list()
                if one.name.startswith(incomplete)
            ]
            or [CompletionItem(one.id) for one in client.list() if one.id.startswith(incomplete)]
        ),
    )


def complete_image(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names that begin so: as people type them, or else whole."""
    del parameter

    def items(client: LocalClient) -> list[CompletionItem]:
        names = [one.name for one in client.list_images()]
        short = [name.removeprefix(_HUB).removeprefix(_LIBRARY) for name in names]
        for forms in (short, names):
            if found := [CompletionItem(name) for name in forms if name.startswith(incomplete)]:
                return found
        return []

    return _complete(context, items)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def _by_name(
    those: Callable[[LocalClient], Sequence[N]], said: Callable[[N], str]
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completes names of what the node has, each with what is `said` of it."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        del parameter
        return _complete(
            context,
            lambda client: [
                CompletionItem(one.name, help=said(one))
                for one in those(client)
                if one.name.startswith(incomplete)
            ],
        )

    return complete


complete_flavor = _by_name(lambda client: client.list_flavors(), lambda one: one.description)
complete_volume = _by_name(lambda client: client.list_volumes(), lambda one: ", ".join(one.used_by))


def ref_argument(*, many: bool = False) -> Callable[[F], F]:
    """CONTAINER: its name, its id, or an unambiguous beginning of its id."""
    return click.argument(
        "refs" if many else "ref",
        metavar="CONTAINER..." if many else "CONTAINER",
        nargs=-1 if many else 1,
        required=True,
        shell_complete=complete_container,
    )


def _complete(
    context: click.Context, items: Callable[[LocalClient], list[CompletionItem]]
) -> list[CompletionItem]:
    socket = context.find_root().params.get("socket") or DEFAULT_SOCKET
    try:
        with LocalClient(socket, _COMPLETION_TIMEOUT) as client:
            return items(client)
    except LongshoreError:
        return []
