"""The bytes of one blob, whatever happens to connections, ranges and mirrors on the way.

A byte is handed on only when it is known to be at its place: after a break the rest is asked for
by Range (RFC 9110, 14), and what answers something else is read from the beginning again, past
what is here already. Whether the bytes are the right ones, their digest tells whoever stores them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from longshore.errors import (
    BadImage,
    ImageNotFound,
    ImageSourceFailed,
    ImageSourceUnavailable,
    LongshoreError,
)
from longshore.host.registry.exchange import Response, number
from longshore.host.registry.http import Repository
from longshore.model.documents import Descriptor

_LOG = logging.getLogger(__name__)
_PIECE = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,18})")
#: What one place may answer for which another is asked.
ELSEWHERE = (ImageNotFound, ImageSourceFailed, BadImage)


class BlobReader:
    """transfer.Reader. For one thread at a time.

    Args:
        places: who may have it, in the order in which they are asked; at least one.
    """

    def __init__(self, places: Sequence[Repository], blob: Descriptor, offset: int = 0) -> None:
        self._places = places
        self._place = 0
        self._blob = blob
        self._position = offset
        self._response: Response | None = None
        self._skip = 0
        self._bounded = False  # The answer's own length ends it where the blob should end.
        self._ranges = True
        self._failures = 0

    def connect(self) -> None:
        """Finds a place that answers.

        Raises:
            BadImage: it has another size than its descriptor says.
            ImageSourceFailed and its children: nobody has it, or nobody answers as they should.
            And what the patience's check raises.
        """
        while self._response is None and self._position < self._blob.size:
            try:
                self._ask(self._places[self._place])
            except ImageNotFound as error:
                place = self._places[self._place]
                self._elsewhere(
                    place.error(ImageSourceFailed, f"does not have {self._blob.digest}"), error
                )
            except (ImageSourceFailed, BadImage) as error:
                self._elsewhere(error, error)

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes from where the last read ended. Raises as `connect`."""
        while self._position < self._blob.size:
            self._places[self._place].patience.go_on()
            self.connect()
            if data := self._next(min(size, self._blob.size - self._position)):
                return data
        self._end()
        return b""

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _next(self, size: int) -> bytes:
        """Bytes of the blob; none if there is a reason to go round once more."""
        assert self._response is not None
        try:
            data = self._response.read1(min(self._skip, _PIECE) if self._skip else size)
        except ImageSourceUnavailable as error:
            self._broken(error)
            return b""
        if not data:
            place = self._places[self._place]
            self._broken(place.error(ImageSourceUnavailable, "broke off in the middle of a blob"))
            return b""
        if self._skip:
            self._skip -= len(data)
            return b""
        self._failures = 0
        self._position += len(data)
        return data

    def _broken(self, error: LongshoreError) -> None:
        """Only tries that brought nothing count."""
        self.close()
        self._failures += 1
        place = self._places[self._place]
        if self._failures >= place.endpoint.tries:
            self._elsewhere(error, error)
        else:
            place.patience.pause(self._failures)

    def _elsewhere(self, failure: LongshoreError, cause: LongshoreError) -> None:
        self.close()
        if self._place + 1 == len(self._places):
            raise failure from (None if failure is cause else cause)
        _LOG.warning("%s: asking the next one", failure.message)
        self._place += 1
        self._failures, self._ranges = 0, True

    def _ask(self, place: Repository) -> None:
        headers = {}
        if self._position and self._ranges:
            headers["Range"] = f"bytes={self._position}-"
        response = place.request(
            "GET", f"blobs/{self._blob.digest}", headers=headers, good=(200, 206, 416)
        )
        try:
            fits = self._fits(place, response, ranged=bool(headers))
        except BadImage:
            response.close()
            raise
        if fits:
            self._response = response
            return
        response.close()
        self._ranges = False
        self._broken(place.error(ImageSourceFailed, "answers with other bytes than asked for"))

    def _fits(self, place: Repository, response: Response, *, ranged: bool) -> bool:
        """Whether its bytes can be told to be ours; sets how they are to be read."""
        said = response.headers.get("Content-Range", "")
        if response.status == 200:
            length = number(response.headers.get("Content-Length"))
            self._bounded = length is not None
            if length is not None:
                self._check(place, length)
            self._skip = self._position
            return True
        if response.status == 416:
            if total := _UNSATISFIED.fullmatch(said):
                self._check(place, int(total[1]))
            return False
        found = _CONTENT_RANGE.fullmatch(said)
        if found is None or not ranged:
            return False
        if found[3] != "*":
            self._check(place, int(found[3]))
        self._skip, self._bounded = 0, True
        return int(found[1]) == self._position and int(found[2]) < self._blob.size

    def _check(self, place: Repository, size: int) -> None:
        if size != self._blob.size:
            raise place.error(
                BadImage,
                f"has {size} bytes for {self._blob.digest}, which should be {self._blob.size}",
            )

    def _end(self) -> None:
        """One byte too many is as wrong as one too few, where no length has told already."""
        more = b""
        if self._response is not None and not self._bounded:
            try:
                more = self._response.read1(1)
            except ImageSourceUnavailable:
                more = b""  # All of it is here.
        self.close()
        if more:
            raise self._places[self._place].error(
                BadImage, f"sends more for {self._blob.digest} than its {self._blob.size} bytes"
            )
