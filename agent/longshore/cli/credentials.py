"""Who asks a registry: from options, and what is secret from standard input alone.

A password or token on the command line would be in the process list and the shell's history.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from longshore.model.transfer import Auth, Credential

F = TypeVar("F", bound=Callable[..., Any])
#: Registries' tokens have some kilobytes; a file that was meant for something else has more.
_SECRET_MAX = 64 * 1024


def secret_options(prefix: str = "") -> Callable[[F], F]:
    """`--user`, `--password-stdin` and `--token-stdin`, with a prefix where those are taken."""

    def decorate(command: F) -> F:
        short = () if prefix else ("-u",)
        options = [
            click.option(f"--{prefix}user", *short, "registry_user", metavar="NAME",
                         help="User of the registry; asks for the password on a terminal."),
            click.option(f"--{prefix}password-stdin", "password_stdin", is_flag=True,
                         help="Read that user's password from stdin."),
            click.option(f"--{prefix}token-stdin", "token_stdin", is_flag=True,
                         help="Read a bearer token for the registry from stdin."),
        ]  # fmt: skip
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def auth_options(command: F) -> F:
    """Those, or a credential that the node has by name."""
    named = click.option(
        "--credential", metavar="NAME", help="One of the node's configured credentials."
    )
    return secret_options()(named(command))


def auth(given: Mapping[str, Any]) -> Auth:
    """Raises click.UsageError for what excludes itself, and for a secret that is none."""
    credential = secret(given, given["credential"])
    return Auth(credential, given["credential"])


def secret(given: Mapping[str, Any], named: str | None, prefix: str = "") -> Credential | None:
    """What `secret_options` gave, None: nothing. `named`: the credential that was named instead.

    Raises:
        click.UsageError: as `auth`.
    """
    user, password, token = (
        given["registry_user"],
        given["password_stdin"],
        given["token_stdin"],
    )
    if named is not None and (user is not None or password or token):
        raise click.UsageError(
            f"a credential is named ({named}): drop --{prefix}user and what is read from stdin"
        )
    if token and (user is not None or password):
        raise click.UsageError(
            f"a token stands for itself: drop --{prefix}user and --{prefix}password-stdin"
        )
    if password and user is None:
        raise click.UsageError(f"whose password? give --{prefix}user NAME")
    if user == "":
        raise click.UsageError(f"--{prefix}user is empty")
    if token:
        return Credential(token=_read("Token"))
    if user is None:
        return None
    if not password and not sys.stdin.isatty():
        raise click.UsageError(
            f"--{prefix}user needs --{prefix}password-stdin, or a terminal to ask at"
        )
    return Credential(username=user, password=_read("Password"))


def _read(what: str) -> str:
    if sys.stdin.isatty():
        typed: str = click.prompt(what, hide_input=True, err=True)
        return typed
    data = sys.stdin.buffer.read(_SECRET_MAX + 1)
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.UsageError("what stdin has is not UTF-8") from None
    if len(data) > _SECRET_MAX or not text or not text.isprintable():
        raise click.UsageError(
            f"stdin has no {what.lower()}: one line of at most {_SECRET_MAX // 1024} KiB is read"
        )
    return text
