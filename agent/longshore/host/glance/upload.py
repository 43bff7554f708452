"""An image of this node to Glance, as an archive.

The archive is made twice: once to know its size and hash, so that an image that is there already
is not sent again, and once to be sent.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from longshore.errors import (
    BadImage,
    ImageSourceFailed,
    ImageSourceUnavailable,
    LongshoreError,
)
from longshore.host.glance.api import Api, Question
from longshore.host.glance.chance import Chance
from longshore.host.glance.image import ACTIVE, COMING, GlanceImage, hasher, read
from longshore.host.glance.settings import Bounds
from longshore.model.transfer import Credential, Watch

LOG = logging.getLogger(__name__)
#: What Glance's `hashing_algorithm` is unless the operator changed it.
_ALGORITHM = "sha512"
#: Seconds between two looks at an image that Glance has not finished with.
_LOOK = 1.0


@dataclass(frozen=True)
class Upload:
    """One image to be sent.

    Args:
        what: completes 'cannot …'.
        name: its name in Glance.
        digest: of the image; becomes a property there.
        pieces: makes the archive; the same bytes each time.
    """

    what: str
    name: str
    digest: str
    pieces: Callable[[], Iterable[bytes]]
    credential: Credential | None
    bounds: Bounds


def send(api: Api, upload: Upload, watch: Watch, chance: Chance) -> str:
    """Returns Glance's id of an image with these data and this name; a new one, or one that is
    there. Nothing stays there of an upload that failed.

    Raises:
        BadImage: what Glance has is not what was sent.
        ImageSourceFailed and its children, PullCancelled, Interrupted.
    """
    size, digest = _measured(upload, _ALGORITHM, watch)
    for document in _same(api, upload, digest):
        image = read(document, upload.what)
        if image.status == ACTIVE and image.hash == digest and image.name == upload.name:
            return image.id
    image = read(api.ask(_created(upload)), upload.what)
    try:
        watch.planned(upload.digest, {image.id: size})
        _put(api, upload, image, _Body(upload, image.id, size, watch, chance))
        _verify(upload, _finished(api, upload, image, watch, chance), size, digest, watch)
    except BaseException:
        _withdraw(api, upload, image)
        raise
    watch.finished(image.id)
    return image.id


class _Body:
    """The archive as requests sends it: of a known length, in pieces."""

    def __init__(self, upload: Upload, id: str, size: int, watch: Watch, chance: Chance) -> None:
        self._upload = upload
        self._id = id
        self._size = size
        self._watch = watch
        self._chance = chance

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        bounds, done = self._upload.bounds, 0
        until = self._chance.now() + bounds.seconds
        for piece in self._upload.pieces():
            self._watch.check()
            if self._chance.now() > until:
                raise ImageSourceUnavailable(
                    f"cannot {self._upload.what}: it takes longer than {bounds.seconds:g} s",
                    hint="see [images] pull_timeout",
                )
            yield piece
            done += len(piece)
            self._watch.fetched(self._id, done)


def _measured(upload: Upload, algorithm: str, watch: Watch) -> tuple[int, str]:
    size, digest = 0, hashlib.new(algorithm)
    for piece in upload.pieces():
        watch.check()
        size += len(piece)
        digest.update(piece)
    return size, digest.hexdigest()


def _same(api: Api, upload: Upload, digest: str) -> list[Any]:
    answer = api.ask(
        Question(
            upload.what,
            "GET",
            "/images",
            upload.credential,
            params={"name": upload.name, "os_hash_value": digest, "status": ACTIVE},
        )
    )
    images = answer.get("images") if isinstance(answer, dict) else None
    if not isinstance(images, list):
        raise ImageSourceFailed(f"cannot {upload.what}: Glance's answer lists no images")
    return images


def _created(upload: Upload) -> Question:
    return Question(
        upload.what,
        "POST",
        "/images",
        upload.credential,
        body={
            "name": upload.name,
            "container_format": "docker",
            "disk_format": "raw",
            "longshore_digest": upload.digest,
        },
    )


def _put(api: Api, upload: Upload, image: GlanceImage, body: _Body) -> None:
    question = Question(
        upload.what,
        "PUT",
        f"/images/{image.id}/file",
        upload.credential,
        stall=upload.bounds.stall,
        headers={"Content-Type": "application/octet-stream"},
        body=body,
    )
    with api.answer(question):
        pass


def _finished(
    api: Api, upload: Upload, image: GlanceImage, watch: Watch, chance: Chance
) -> GlanceImage:
    """The image once Glance has made up its mind about the data."""
    until = chance.now() + upload.bounds.seconds
    while True:
        question = Question(upload.what, "GET", f"/images/{image.id}", upload.credential)
        now = read(api.ask(question), upload.what)
        if now.status not in COMING:
            return now
        if chance.now() > until:
            raise ImageSourceUnavailable(f"cannot {upload.what}: Glance does not finish with it")
        chance.pause(_LOOK)
        watch.check()


def _verify(upload: Upload, image: GlanceImage, size: int, digest: str, watch: Watch) -> None:
    if image.status != ACTIVE:
        raise ImageSourceFailed(f"cannot {upload.what}: Glance says that it is {image.status}")
    if image.algorithm != _ALGORITHM:
        if hasher(image.algorithm) is None:
            raise ImageSourceFailed(
                f"cannot {upload.what}: Glance's os_hash_algo {image.algorithm!r} is unknown here"
            )
        _, digest = _measured(upload, image.algorithm, watch)
    if (image.size, image.hash) != (size, digest):
        raise BadImage(f"cannot {upload.what}: what Glance has is not what was sent")


def _withdraw(api: Api, upload: Upload, image: GlanceImage) -> None:
    """Also what has no data yet would stand in everybody's list of images."""
    try:
        api.ask(
            Question(
                f"remove {image.reference} after a failed upload",
                "DELETE",
                f"/images/{image.id}",
                upload.credential,
                insist=True,
            )
        )
    except LongshoreError as error:
        LOG.warning("%s", error)
