"""`cp`: files out of a container and into one."""

from __future__ import annotations

import os
import posixpath
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from longshore.cli import agent, units
from longshore.cli.output import examples
from longshore.cli.packing import Packing
from longshore.cli.unpacking import Pieces, Unpacking
from longshore.errors import PathNotFound
from longshore.local.client import LocalClient
from longshore.model.status import PathStatus
from longshore.model.tar import PIECE

_LINKS_MAX = 16


@dataclass(frozen=True)
class _Place:
    """`ref`: None: on this machine."""

    ref: str | None
    path: str

    @property
    def is_content(self) -> bool:
        """Of a folder, what is in it, and not the folder."""
        return self.path.endswith("/.") or self.path == "."

    @property
    def wants_folder(self) -> bool:
        return self.path.endswith(("/", "/."))


@click.command(
    short_help="Copy files out of a container or into one.",
    epilog=examples(
        "longshore cp web:/etc/nginx/nginx.conf .",
        "longshore cp site/. web:/var/www",
        "longshore cp web:/var/log - | tar -t",
    ),
)
@click.option("--archive", "-a", is_flag=True, help="Keep the owners of files, by number.")
@click.option("--follow-link", "-L", is_flag=True, help="Of a link SRC, copy what it points to.")
@click.option("--quiet", "-q", is_flag=True, help="Do not tell what was copied.")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DEST")
@click.pass_context
def cp(
    context: click.Context,
    *,
    archive: bool,
    follow_link: bool,
    quiet: bool,
    source: str,
    destination: str,
) -> None:
    """Copy SRC to DEST: one of them is CONTAINER:PATH, the other a path of this machine or -.

    A folder DEST that is there gets SRC into it; else DEST is what SRC becomes. SRC/. is what is in
    the folder. With - a tar is written to stdout, or read from stdin. The container need not run.
    """
    client = agent.connect(context)
    source_at, target_at = _place(source), _place(destination)
    if (source_at.ref is None) == (target_at.ref is None):
        raise click.UsageError("one of SRC and DEST has to be CONTAINER:PATH, and only one")

    def tell(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    try:
        if source_at.ref is not None:
            _out(client, source_at, target_at, tell, owners=archive, follow=follow_link)
        else:
            _in(client, source_at, target_at, tell, owners=archive, follow=follow_link)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        named = f" {error.filename!r}" if error.filename else ""
        raise click.ClickException(f"cannot copy{named}: {error.strerror}") from error


def _place(text: str) -> _Place:
    """What looks like a path is one: a file with a colon in its name is written ./it."""
    ref, colon, path = text.partition(":")
    if not colon or text.startswith((".", "/")):
        return _Place(None, text)
    if not ref or not path:
        raise click.UsageError(f"{text!r}: write CONTAINER:PATH")
    # Docker's: what is not absolute is from the root on.
    return _Place(ref, path if path.startswith("/") else f"/{path}")


def _out(
    client: LocalClient,
    source: _Place,
    target: _Place,
    tell: Callable[[str], None],
    *,
    owners: bool,
    follow: bool,
) -> None:
    assert source.ref is not None
    status, pieces = client.copy_out(source.ref, source.path, follow_link=follow)
    with closing(pieces):
        if target.path == "-":
            if sys.stdout.isatty():
                raise click.UsageError("a tar is nothing for a terminal: give a path, or a pipe")
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        final = _local_target(source, status, target)
        unpacking = Unpacking(final, owners, tell)
        stream = Pieces(pieces)
        unpacking.unpack(stream.read)
        stream.drain()
    tell(f"copied {unpacking.count} entries ({units.size(unpacking.size)}) to {final}")


def _local_target(source: _Place, status: PathStatus, target: _Place) -> Path:
    """What SRC becomes. Raises click.ClickException where nothing fits."""
    path, is_folder = Path(target.path), stat.S_ISDIR(status.mode)
    if source.wants_folder and not is_folder:
        raise click.ClickException(f"cannot copy {source.path}: it is no folder")
    # What DEST itself leads to is the caller's affair; what is in it, not.
    real = Path(os.path.realpath(path))
    if real.is_dir():
        if source.is_content:
            return real
        return real / (status.name if status.name != "." else "root")
    if real.exists() and (is_folder or target.wants_folder):
        raise click.ClickException(f"cannot copy to {path}: it is no folder")
    if not real.exists() and target.wants_folder and not is_folder:
        raise click.ClickException(f"cannot copy to {path}: there is no such folder")
    if not real.parent.is_dir():
        raise click.ClickException(f"cannot copy to {path}: there is no folder {real.parent}")
    return real


def _in(
    client: LocalClient,
    source: _Place,
    target: _Place,
    tell: Callable[[str], None],
    *,
    owners: bool,
    follow: bool,
) -> None:
    assert target.ref is not None
    path, status = _resolved(client, target)
    if source.path == "-":
        if status is None or not stat.S_ISDIR(status.mode):
            raise click.ClickException(f"cannot copy to {target.path}: it is no folder there")
        count = client.copy_in(
            *(target.ref, path, lambda: iter(lambda: sys.stdin.buffer.read(PIECE), b"")),
            archive=owners,
            repeatable=False,
        )
        tell(f"copied {count} entries to {target.ref}:{path}")
        return
    local = Path(os.path.realpath(source.path)) if follow else Path(source.path)
    nature = local.stat() if source.wants_folder else local.lstat()
    if source.wants_folder and not stat.S_ISDIR(nature.st_mode):
        raise click.ClickException(f"cannot copy {source.path}: it is no folder")
    # `link/` is the folder that it leads to.
    local = Path(os.path.realpath(local)) if source.wants_folder else local
    name = Path(os.path.abspath(source.path)).name
    folder, name = _inside_target(source, name, target, path, status, nature)
    packing = Packing(local, name, owners, tell)
    count = client.copy_in(target.ref, folder, packing.pieces, archive=owners)
    tell(f"copied {count} entries to {target.ref}:{posixpath.join(folder, name)}")


def _inside_target(
    source: _Place,
    name: str,
    target: _Place,
    path: str,
    status: PathStatus | None,
    nature: os.stat_result,
) -> tuple[str, str]:
    """Into which folder, and what SRC is called there."""
    is_folder = stat.S_ISDIR(nature.st_mode)
    if status is not None and stat.S_ISDIR(status.mode):
        return path, "." if source.is_content else name
    if status is not None and (is_folder or target.wants_folder):
        raise click.ClickException(f"cannot copy to {target.path}: it is no folder there")
    if status is None and target.wants_folder and not is_folder:
        raise click.ClickException(f"cannot copy to {target.path}: there is no such folder there")
    return posixpath.dirname(path), posixpath.basename(path)


def _resolved(client: LocalClient, target: _Place) -> tuple[str, PathStatus | None]:
    """Where DEST leads to, and what is there, None for nothing."""
    assert target.ref is not None
    path = posixpath.normpath(target.path)
    for _ in range(_LINKS_MAX):
        try:
            status, pieces = client.copy_out(target.ref, path)
        except PathNotFound:
            return path, None
        pieces.close()
        if not stat.S_ISLNK(status.mode):
            return path, status
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), status.link))
    raise click.ClickException(f"cannot copy to {target.path}: its links lead round in a circle")
