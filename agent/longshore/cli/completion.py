"""`completion`: the script that teaches a shell our words."""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from longshore.cli.output import examples

PROGRAM = "longshore"
VARIABLE = "_LONGSHORE_COMPLETE"


class Bash(BashComplete):
    """Bash takes `busybox:1` for three words, and replaces the last of them: names of images
    have colons. So the words are read from the line, and what precedes the last colon is left out.
    """

    source_template = BashComplete.source_template.replace(
        'env COMP_WORDS="${COMP_WORDS[*]}"',
        'env COMP_LINE="$COMP_LINE" COMP_POINT=$COMP_POINT COMP_WORDBREAKS="$COMP_WORDBREAKS" \\\n'
        'COMP_WORDS="${COMP_WORDS[*]}"',
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
        words = split_arg_string(line)
        incomplete = words.pop() if not line[-1:].isspace() else ""
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        typed = self.get_completion_args()[1]
        if typed.startswith("--"):
            typed = typed.partition("=")[2]
        if ":" in os.environ["COMP_WORDBREAKS"]:
            item.value = item.value.removeprefix(typed[: typed.rfind(":") + 1])
        return super().format_completion(item)


add_completion_class(Bash)


@click.command(
    short_help="Print a shell's completion script.",
    epilog=examples(
        "longshore completion bash > /etc/bash_completion.d/longshore",
        "longshore completion zsh > ~/.zfunc/_longshore",
        "longshore completion fish > ~/.config/fish/completions/longshore.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a SHELL; containers and images come from the agent."""
    kind = get_completion_class(shell)
    assert kind is not None, "click has all three"
    click.echo(kind(context.find_root().command, {}, PROGRAM, VARIABLE).source())
