"""`flavor` and `fits`: what a request may name on this node, and whether it would be taken."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from longshore.cli import agent, spec_options, specs, units
from longshore.cli.errors import FAILED
from longshore.cli.output import (
    Column,
    examples,
    output_option,
    print_facts,
    print_json,
    print_table,
)
from longshore.cli.tables import Row
from longshore.errors import NotFound
from longshore.model.limits import BYTES
from longshore.model.status import FitsStatus, FlavorStatus

FLAVORS = (
    Column("NAME"),
    Column("CPUS", right=True),
    Column("MEMORY", right=True),
    Column("DISK", right=True),
    Column("PIDS", right=True),
    Column("DESCRIPTION", shrink=True, optional=True),
)
MISSING = (
    Column("MISSING"),
    Column("ASKED", right=True),
    Column("FREE", right=True),
)
_NOT_LIMITED = "-"


@click.group(epilog=examples("longshore flavor ls", "longshore run --flavor general-small web:1"))
def flavor() -> None:
    """Sets of limits that the node offers by name."""


@flavor.command("ls", short_help="The node's flavors.", epilog=examples("longshore flavor ls"))
@output_option()
@click.pass_context
def list_flavors(context: click.Context, output: str) -> None:
    """List the flavors that --flavor may name on this node."""
    flavors = agent.connect(context).list_flavors()
    if output == "json":
        print_json([one.to_dict() for one in flavors])
    else:
        print_table(FLAVORS, [_flavor_row(one) for one in flavors])


@flavor.command(
    short_help="All limits of one flavor.", epilog=examples("longshore flavor show general-small")
)
@click.argument("name", metavar="NAME", shell_complete=agent.complete_flavor)
@output_option()
@click.pass_context
def show(context: click.Context, name: str, output: str) -> None:
    """Everything that a flavor limits."""
    flavors: Sequence[FlavorStatus] = agent.connect(context).list_flavors()
    found = next((one for one in flavors if one.name == name), None)
    if found is None:
        raise NotFound(
            f"cannot show flavor {name}: this node has none of that name",
            object=name,
            hint="longshore flavor ls",
        )
    if output == "json":
        print_json(found.to_dict())
    else:
        print_facts(_flavor_facts(found))


@click.command(
    # Whatever comes after IMAGE belongs to the command, dashes and all.
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
    short_help="Would the node take this container?",
    epilog=examples(
        "longshore fits --memory 2g --cpus 2 -p 8080:80 web:1",
        "longshore fits --flavor general-large web:1 && echo there is room",
    ),
)
@output_option()
@spec_options.spec_options
@click.pass_context
def fits(context: click.Context, /, *, output: str, **given: Any) -> None:
    """Tell whether the node would take a container of IMAGE now, with the options of `run`.

    Nothing is made, pulled or claimed. Ends with 1 if it would not, and says why.
    """
    answer = agent.connect(context).fits(specs.parsed(given, os.environ))
    if output == "json":
        print_json(answer.to_dict())
    else:
        _say(answer)
    context.exit(0 if answer.fits else FAILED)


def _say(answer: FitsStatus) -> None:
    if answer.error is None:
        click.echo("it fits")
        return
    click.echo(f"it does not fit: {answer.error.message}")
    if answer.error.hint:
        click.echo(f"hint: {answer.error.hint}", err=True)
    if answer.missing:
        print_table(
            MISSING,
            [
                (
                    one.resource,
                    units.quantity(one.asked, one.unit),
                    units.quantity(one.free, one.unit),
                )
                for one in answer.missing
            ],
        )


def _flavor_row(one: FlavorStatus) -> Row:
    limits = one.limits
    return (
        one.name,
        _NOT_LIMITED if limits.cpus is None else units.quantity(limits.cpus, "cores"),
        *(
            _NOT_LIMITED if value is None else units.size(value)
            for value in (limits.memory, limits.disk)
        ),
        _NOT_LIMITED if limits.pids is None else str(limits.pids),
        one.description,
    )


def _flavor_facts(one: FlavorStatus) -> list[tuple[str, str]]:
    limits = one.to_dict()["limits"]
    return [
        ("Flavor", one.name),
        *([("Description", one.description)] if one.description else []),
        *(
            (name, units.size(value) if name in BYTES else _text(value))
            for name, value in limits.items()
            if value not in (None, [], {})
        ),
    ]


def _text(value: Any) -> str:
    """What has parts, with `, ` between them: `name=nofile soft=1024 hard=4096`."""
    if isinstance(value, dict):
        return " ".join(f"{key}={one}" for key, one in value.items() if one is not None)
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    return str(value)
