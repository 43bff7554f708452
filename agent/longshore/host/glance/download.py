"""An image's data from Glance into a file, verified. A connection that breaks is resumed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from dataclasses import dataclass
from typing import IO

from requests import RequestException, Response

from longshore.errors import (
    BadImage,
    Exhausted,
    HostFailed,
    ImageNotFound,
    ImageSourceFailed,
    ImageSourceUnavailable,
    LongshoreError,
    MessageTooLarge,
)
from longshore.host.glance.api import PAUSE, Api, Question
from longshore.host.glance.attended import Attention, attended
from longshore.host.glance.chance import Chance
from longshore.host.glance.image import GlanceImage
from longshore.host.glance.settings import Bounds
from longshore.model.transfer import Credential, Watch

#: What came of a piece is lost when the connection breaks within it.
_PIECE = 64 * 1024
#: How often in a row a connection may break before a byte came.
FRUITLESS = 5
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Download:
    """One image to be fetched; `what` completes 'cannot …'."""

    what: str
    image: GlanceImage
    credential: Credential | None
    bounds: Bounds


def fetch(api: Api, download: Download, file: IO[bytes], watch: Watch, chance: Chance) -> None:
    """Writes the data into the empty, unbuffered `file`; when this returns they are verified.

    Raises:
        BadImage: they are not what Glance says of them.
        MessageTooLarge: they are more than this node takes.
        Exhausted: there is no room for them.
        ImageSourceFailed and its children, PullCancelled, Interrupted.
    """
    image, what = download.image, download.what
    _room(file, download)
    watch.planned("", {image.id: image.size})
    with attended(what, watch, download.bounds.seconds, chance.now) as attention:
        _Fetch(api, download, file, watch, attention).run(chance)
    watch.finished(image.id)


class _Fetch:
    """How far it is: `done` bytes are in the file, and in the hash."""

    def __init__(
        self, api: Api, download: Download, file: IO[bytes], watch: Watch, attention: Attention
    ) -> None:
        self._api = api
        self._download = download
        self._image = download.image
        self._file = file
        self._watch = watch
        self._attention = attention
        self._begin()

    def run(self, chance: Chance) -> None:
        image, what = self._image, self._download.what
        fruitless = 0
        while self._done < image.size:
            before = self._done
            why = self._piece()
            fruitless = 0 if self._done > before else fruitless + 1
            if fruitless == FRUITLESS:
                raise ImageSourceUnavailable(
                    f"cannot {what}: the data break off at {before} of {image.size} bytes: {why}",
                    object=image.reference,
                )
            if self._done < image.size:
                chance.pause(PAUSE * 2**fruitless)
                self._attention.check()
        if self._hash.hexdigest() != image.hash:
            raise self._bad(f"the data do not have the {image.algorithm} that Glance says")

    def _piece(self) -> str:
        """What one connection gives; returns why it ended."""
        download, offset = self._download, self._done
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        question = Question(
            download.what,
            "GET",
            f"/images/{self._image.id}/file",
            download.credential,
            missing=ImageNotFound(
                f"cannot {download.what}: it was deleted", object=self._image.reference
            ),
            stall=download.bounds.stall,
            headers=headers,
            insist=offset > 0,
        )
        try:
            with self._api.answer(question) as response, self._attention.cutting(response):
                self._place(response)
                for piece in response.iter_content(_PIECE):
                    self._attention.check()
                    self._take(piece)
        except (RequestException, ValueError) as error:
            self._attention.check()
            return _why(error)
        except ImageSourceUnavailable as error:
            self._attention.check()
            if not offset:
                raise
            return error.message
        return "it ends too early"

    def _place(self, response: Response) -> None:
        """Where in the file the answer belongs: one that ignores the range begins again."""
        if response.status_code != 206:
            self._begin()
            return
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != self._done:
            raise ImageSourceFailed(
                f"cannot {self._download.what}: Glance answers with another range than asked for"
            )
        if found[2] not in ("*", str(self._image.size)):
            raise self._bad(f"it has {found[2]} bytes, Glance says {self._image.size}")

    def _begin(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.new(self._image.algorithm)
        self._done = 0

    def _take(self, piece: bytes) -> None:
        image = self._image
        if self._done + len(piece) > image.size:
            raise self._bad(f"it has more bytes than the {image.size} that Glance says")
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise _unwritten(error, self._download) from error
        self._hash.update(piece)
        self._done += len(piece)
        self._watch.fetched(image.id, self._done)

    def _bad(self, why: str) -> BadImage:
        return BadImage(f"cannot {self._download.what}: {why}", object=self._image.reference)


def _room(file: IO[bytes], download: Download) -> None:
    image, most = download.image, download.bounds.size
    if image.size > most:
        raise MessageTooLarge(
            f"cannot {download.what}: it has {image.size} bytes, [images] archive_max is {most}",
            object=image.reference,
        )
    disk = os.fstatvfs(file.fileno())
    free = disk.f_bavail * disk.f_frsize
    if image.size > free:
        raise Exhausted(
            f"cannot {download.what}: it has {image.size} bytes, the disk of state_dir has "
            f"{free} bytes free",
            object=image.reference,
        )


def _unwritten(error: OSError, download: Download) -> LongshoreError:
    kind = Exhausted if error.errno in _FULL else HostFailed
    return kind(
        f"cannot {download.what}: it cannot be written to state_dir: {error.strerror}",
        object=download.image.reference,
    )


def _why(error: Exception) -> str:
    """In words of ours: theirs hold addresses of objects and URLs."""
    return "no data in time" if "timed out" in str(error) else "the connection breaks"
