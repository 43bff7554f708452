"""Of several objects one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from longshore.cli import errors
from longshore.cli.output import META, print_json
from longshore.errors import LongshoreError
from longshore.model.status import ContainerStatus, ImageStatus, VolumeStatus

V = TypeVar("V", ContainerStatus, ImageStatus, VolumeStatus)


def each(
    context: click.Context,
    refs: Sequence[str],
    verb: Callable[[str], V],
    output: str,
    told: Callable[[str], None] = click.echo,
) -> None:
    """What fails is told and the rest goes on. Ends with the first failure's code.

    Args:
        told: for people, of each that is done.
    """
    done: list[V] = []
    code = 0
    for ref in refs:
        try:
            done.append(verb(ref))
        except LongshoreError as error:
            errors.show(error, as_json=context.meta.get(META) == "json")
            code = code or errors.exit_code(error)
        else:
            if output == "table":
                told(ref)
    if output == "json":
        print_json([one.to_dict() for one in done])
    context.exit(code)
