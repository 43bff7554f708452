"""`commit`: an image from a container."""

from __future__ import annotations

from collections.abc import Sequence

import click

from longshore.cli import agent
from longshore.cli.output import examples, output_option, print_json
from longshore.cli.transfers import image_line
from longshore.model.commit import Commit


@click.command(
    short_help="Make an image of a container.",
    epilog=examples(
        "longshore commit web web:4",
        "longshore commit -a 'Ops <ops@example.org>' -m 'with the fix' \\",
        "    -c 'ENV MODE=fast' -c 'CMD [\"httpd\", \"-f\"]' web web:4",
    ),
)
@click.option("--author", "-a", default="", help="For the image's history.")
@click.option("--message", "-m", default="", help="For the image's history.")
@click.option(
    "--change",
    "-c",
    "changes",
    multiple=True,
    metavar="INSTRUCTION",
    help="Dockerfile instruction for the image's config, such as 'EXPOSE 80'; several.",
)
@click.option(
    "--pause/--no-pause",
    "-p",
    default=True,
    show_default=True,
    help="Freeze the container's processes meanwhile, so that its files agree.",
)
@agent.ref_argument()
@click.argument("image")
@output_option()
@click.pass_context
def commit(
    context: click.Context,
    *,
    author: str,
    message: str,
    changes: Sequence[str],
    pause: bool,
    ref: str,
    image: str,
    output: str,
) -> None:
    """Make IMAGE of the files of CONTAINER: those of its own image, and what it has changed.

    Volumes and other mounts are not part of it.
    """
    change = Commit(author=author, message=message, changes=changes, pause=pause)
    made = agent.connect(context).commit(ref, image, change)
    if output == "json":
        print_json(made.to_dict())
    else:
        click.echo(image_line(made))
