"""`image load` and `image save`: images in a file."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import click

from longshore.cli import agent, units
from longshore.cli.output import examples, output_option, print_json
from longshore.cli.transfers import image_line


@click.command(
    short_help="Load images from an archive.",
    epilog=examples("longshore image load web.tar", "zcat web.tar.gz | longshore image load"),
)
@click.option("--input", "-i", "input_", type=click.File("rb"), help="Another way to name it.")
@click.argument("archive", type=click.File("rb"), required=False)
@output_option()
@click.pass_context
def load(
    context: click.Context, archive: BinaryIO | None, input_: BinaryIO | None, output: str
) -> None:
    """Send an ARCHIVE (an OCI layout or docker save's tar, plain, gz or zst) to the agent.

    Without one, or with -, it is read from stdin.
    """
    if archive is not None and input_ is not None:
        raise click.UsageError("the archive is given twice: drop --input")
    given = archive or input_
    if given is None and sys.stdin.isatty():
        raise click.UsageError("an archive is needed: give its name, or send it to stdin")
    loaded = agent.connect(context).load_image(given or sys.stdin.buffer)
    if output == "json":
        print_json([one.to_dict() for one in loaded])
        return
    for one in loaded:
        click.echo(image_line(one))


@click.command(
    short_help="Write images to an archive.",
    epilog=examples(
        "longshore image save -o web.tar web:3 busybox",
        "longshore image save web:3 | ssh node2 longshore image load",
    ),
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="The file; otherwise stdout.",
)
@click.argument(
    "names", metavar="IMAGE...", nargs=-1, required=True, shell_complete=agent.complete_image
)
@click.pass_context
def save(context: click.Context, output: Path | None, names: Sequence[str]) -> None:
    """Write images to one archive: a tar that is an OCI layout, and that docker loads too.

    A file is there when it is complete, and not before.
    """
    if output is None or str(output) == "-":
        if sys.stdout.isatty():
            raise click.UsageError("an archive is nothing for a terminal: give -o FILE, or a pipe")
        _write(agent.connect(context).save_images(names), sys.stdout.buffer)
        return
    with _completed(output) as file:
        size = _write(agent.connect(context).save_images(names), file)
    click.echo(f"{output} ({units.size(size)})")


def _write(pieces: Iterator[bytes], file: BinaryIO) -> int:
    size = 0
    for piece in pieces:
        file.write(piece)
        size += len(piece)
    file.flush()
    return size


@contextmanager
def _completed(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name once all is written, and is gone when that fails.

    Raises click.ClickException.
    """
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            # A device or a pipe has no half-written state, and must not be replaced by a file.
            with path.open("wb") as file:
                yield file
            return
        target = Path(os.path.realpath(path))
        part = target.with_name(f"{target.name}.part")
        with closing(_alone(part)) as file:
            try:
                yield file
                os.fsync(file.fileno())
                part.replace(target)
            except BaseException:
                with suppress(FileNotFoundError):
                    part.unlink()
                raise
    except OSError as error:
        why = error.strerror or str(error)
        raise click.ClickException(f"cannot write '{path}': {why}") from error


def _alone(part: Path) -> BinaryIO:
    """Opens it, empty, for this process alone; what one that died has left there is overwritten."""
    file = part.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file.fileno()), part.stat()):
            raise BlockingIOError  # complete, and renamed, since it was opened
    except (BlockingIOError, FileNotFoundError):
        file.close()
        raise BlockingIOError(0, "another save writes it just now") from None
    file.truncate(0)
    return file
