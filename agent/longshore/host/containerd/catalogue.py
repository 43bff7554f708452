"""Names in containerd that stand for content.

An image's record tells more than its target only where its source does: Glance's images have keys
of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from longshore.errors import Conflict, ImageNotFound, InvalidRequest, LongshoreError, NotFound
from longshore.host.containerd.client import Client
from longshore.model import documents, reference
from longshore.model.documents import Descriptor
from longshore.pb.containerd import images_pb2, types_pb2

_KEY = "longshore/key"
#: containerd's bound for a label's name and value together.
_LABEL_MAX = 4096


@dataclass(frozen=True)
class Entry:
    """A name. `at`: since when it stands for this target, in Unix seconds."""

    name: str
    target: Descriptor
    key: str
    at: float


def canonical(name: str) -> str:
    """Raises InvalidRequest."""
    try:
        return reference.canonical(name)
    except ValueError as error:
        raise InvalidRequest(
            f"cannot use {name[:255]!r} as an image's name: {error}", field="image", object=name
        ) from error


def get(client: Client, name: str) -> Entry:
    """What a name, canonical or not, stands for.

    A name with a digest is also known where the image came by another name of its repository.

    Raises:
        ImageNotFound: nothing.
        InvalidRequest: it is no name.
    """
    name = canonical(name)
    request = images_pb2.GetImageRequest(name=name)
    try:
        return _entry(client.call(client.images.Get, request, f"find image {name}").image)
    except NotFound as error:
        found = _by_digest(client, name)
        if found is None:
            raise not_found(name) from error
        return found


def entries(client: Client, digest: str | None = None) -> Sequence[Entry]:
    """All names, or those of one target."""
    filters = [] if digest is None else [f"target.digest=={digest}"]
    request = images_pb2.ListImagesRequest(filters=filters)
    answer = client.call(client.images.List, request, "list images")
    return sorted((_entry(record) for record in answer.images), key=lambda entry: entry.name)


def put(client: Client, name: str, target: Descriptor, key: str = "") -> Entry:
    """Gives the target a (canonical) name; one that stood for another is moved.

    Args:
        key: its source's; '' or the digest: as always.
    """
    labels = {_KEY: key} if key not in ("", target.digest) else {}
    if any(len(label) + len(value) > _LABEL_MAX for label, value in labels.items()):
        labels = {}  # It will be taken for changed, and fetched again.
    record = images_pb2.Image(
        name=name,
        labels=labels,
        target=types_pb2.Descriptor(
            media_type=target.media_type or documents.MANIFEST,
            digest=target.digest,
            size=target.size,
        ),
    )
    what = f"name image {name}"
    try:
        made = client.call(
            client.images.Create, images_pb2.CreateImageRequest(image=record), what, object=name
        )
        return _entry(made.image)
    except Conflict:
        there = get(client, name)
        if (there.target.digest, there.key) == (target.digest, labels.get(_KEY, "")):
            return there
    update = images_pb2.UpdateImageRequest(image=record)
    update.update_mask.paths.extend(["target", f"labels.{_KEY}"])
    return _entry(client.call(client.images.Update, update, what, object=name).image)


def put_all(client: Client, targets: Mapping[str, Descriptor]) -> Sequence[Entry]:
    """`put` for all of the names, or none: if one fails, all stand for what they did before."""
    before: dict[str, Entry | None] = {}
    try:
        made = []
        for name, target in targets.items():
            before[name] = _exactly(client, name)
            made.append(put(client, name, target))
    except LongshoreError as error:
        for name, entry in before.items():
            try:
                _put_back(client, name, entry)
            except LongshoreError as second:
                error.add_note(f"and then: {second}")
        raise
    return made


def remove(client: Client, name: str) -> None:
    """Raises ImageNotFound."""
    name = canonical(name)
    request = images_pb2.DeleteImageRequest(name=name)
    try:
        client.call(client.images.Delete, request, f"remove image {name}", object=name)
    except NotFound as error:
        raise not_found(name) from error


def not_found(name: str) -> ImageNotFound:
    return ImageNotFound(
        f"cannot find image {name}: it is not on this node",
        field="image",
        object=name,
        hint=f"`longshore pull {name}`, or `longshore image load ARCHIVE`",
    )


def _exactly(client: Client, name: str) -> Entry | None:
    try:
        entry = get(client, name)
    except ImageNotFound:
        return None
    return entry if entry.name == name else None


def _put_back(client: Client, name: str, entry: Entry | None) -> None:
    if entry is not None:
        put(client, name, entry.target, entry.key)
    elif _exactly(client, name) is not None:
        remove(client, name)


def _by_digest(client: Client, name: str) -> Entry | None:
    if reference.is_glance(name) or (wanted := reference.parse(name)).digest is None:
        return None
    for entry in entries(client, wanted.digest):
        if not reference.is_glance(entry.name):
            try:
                has = reference.parse(entry.name)
            except ValueError:
                continue  # Somebody else named it.
            if has.repository == wanted.repository:
                return entry
    return None


def _entry(record: images_pb2.Image) -> Entry:
    target = record.target
    return Entry(
        record.name,
        Descriptor(target.media_type, target.digest, target.size),
        record.labels.get(_KEY, ""),
        _seconds(record.updated_at if record.HasField("updated_at") else record.created_at),
    )


def _seconds(time: Timestamp) -> float:
    return float(time.seconds) + time.nanos / 1e9
