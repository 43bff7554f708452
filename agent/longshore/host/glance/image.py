"""What Glance says about an image, and whether a container can be made of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longshore.errors import (
    BadImage,
    ImageNotFound,
    ImageSourceDenied,
    ImageSourceFailed,
    ImageSourceUnavailable,
    InvalidRequest,
    LongshoreError,
)
from longshore.model.reference import GLANCE

ACTIVE = "active"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
#: What Glance's `hashing_algorithm` may be here. MD5 and SHA-1 prove nothing.
_ALGORITHMS = hashlib.algorithms_guaranteed - {"md5", "sha1", "shake_128", "shake_256"}
_HEX = re.compile(r"[0-9a-f]+")
#: States of Glance's v2 API in which there is no data, or there will not be any.
COMING = ("queued", "saving", "uploading", "importing")


@dataclass(frozen=True)
class GlanceImage:
    """`hash` is of `size` bytes of data, by `algorithm` (hashlib's name); set once active."""

    id: str
    name: str
    status: str
    container_format: str = ""
    size: int = 0
    algorithm: str = ""
    hash: str = ""

    @property
    def reference(self) -> str:
        """Its canonical name on this node."""
        return f"{GLANCE}{self.id}"

    @property
    def key(self) -> str:
        """Glance's data never change under one id; that it is checked, the hash says."""
        return f"glance:{self.id}:{self.algorithm}:{self.hash}"


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def read(document: Any, what: str) -> GlanceImage:
    """Raises ImageSourceFailed: it is not what Glance's v2 API answers."""
    fields = document if isinstance(document, dict) else {}
    id, status, size = fields.get("id"), fields.get("status"), fields.get("size")
    if not isinstance(id, str) or not is_id(id) or not isinstance(status, str):
        raise ImageSourceFailed(f"cannot {what}: Glance's answer describes no image")
    return GlanceImage(
        id.lower(),
        _text(fields, "name"),
        status,
        _text(fields, "container_format"),
        size if isinstance(size, int) else 0,
        _text(fields, "os_hash_algo"),
        _text(fields, "os_hash_value").lower(),
    )


def only(images: Sequence[GlanceImage], name: str, what: str) -> GlanceImage:
    """The one that a name means: an active one before those that have no data.

    Raises:
        ImageNotFound: there is none.
        InvalidRequest: there are several.
    """
    if not images:
        raise ImageNotFound(
            f"cannot {what}: Glance has no image of this name that the node may see", object=name
        )
    active = [image for image in images if image.status == ACTIVE] or list(images)
    if len(active) > 1:
        ids = sorted(image.id for image in active)
        raise InvalidRequest(
            f"cannot {what}: Glance has {len(active)} images of this name: {', '.join(ids[:5])}"
            + (", …" if len(ids) > 5 else ""),
            object=name,
            hint="name it by its id",
            details={"ids": ids},
        )
    return active[0]


def usable(image: GlanceImage, what: str) -> GlanceImage:
    """The image itself, if a container can be made of its data.

    Raises:
        ImageSourceUnavailable: its data are not there yet.
        ImageNotFound: its data are gone.
        ImageSourceDenied: it is deactivated.
        BadImage: it is no container image, or cannot be verified.
    """
    if image.status != ACTIVE:
        raise _without_data(image, what)
    if image.container_format != "docker":
        raise _bad(
            image,
            what,
            f"its container_format is {image.container_format or 'not set'}, not docker",
            hint="upload an image archive with --container-format docker",
        )
    if image.size <= 0:
        raise _bad(image, what, "Glance does not say how large it is")
    digest = hasher(image.algorithm)
    if not image.hash:
        raise _bad(
            image, what, "Glance has no os_hash_value of it", hint="upload it again to this Glance"
        )
    if digest is None:
        raise _bad(
            image, what, f"its os_hash_algo {image.algorithm!r} is unknown here, or proves nothing"
        )
    if not _HEX.fullmatch(image.hash) or len(image.hash) != 2 * digest.digest_size:
        raise _bad(image, what, f"its os_hash_value is no {image.algorithm}")
    return image


def hasher(algorithm: str) -> hashlib._Hash | None:
    """A new hash; None for an algorithm that is unknown here, or broken."""
    return hashlib.new(algorithm) if algorithm in _ALGORITHMS else None


def _without_data(image: GlanceImage, what: str) -> LongshoreError:
    status, name = image.status, image.reference
    if status in COMING:
        return ImageSourceUnavailable(
            f"cannot {what}: it is not uploaded yet (Glance says {status})", object=name
        )
    if status == "deactivated":
        return ImageSourceDenied(
            f"cannot {what}: it is deactivated",
            object=name,
            hint=f"openstack image set --activate {image.id}",
        )
    if status in ("deleted", "pending_delete"):
        return ImageNotFound(f"cannot {what}: it was deleted", object=name)
    return ImageNotFound(f"cannot {what}: it has no data (Glance says {status})", object=name)


def _bad(image: GlanceImage, what: str, why: str, hint: str | None = None) -> BadImage:
    return BadImage(f"cannot {what}: {why}", object=image.reference, hint=hint)


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""
