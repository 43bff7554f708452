"""What a container's file system has beyond its image's, as a new image.

The layer is containerd's work (difference.py); manifest and config are made here. What comes of it
is an `ImageSource` like any other, and is stored as those are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from longshore.errors import ImageNotFound, NotFound
from longshore.host.containerd import content, difference, leases
from longshore.host.containerd.client import Client
from longshore.host.containerd.store import InMemory
from longshore.model.commit import Commit
from longshore.model.documents import (
    CONFIG,
    DOCUMENT_MAX,
    MANIFEST,
    Descriptor,
    Resolved,
    digest_of,
    layer_type,
)
from longshore.model.fields import parse
from longshore.model.instructions import changed
from longshore.model.names import Names
from longshore.model.transfer import Content, ImageSource, Watch

_BY = "longshore commit"
#: Docker's old builder wrote here what it built with; it is the base's, not the new image's.
_STALE = ("container", "container_config", "docker_version", "id", "parent")


@contextmanager
def source(
    client: Client,
    snapshotter: str,
    names: Names,
    base: Resolved,
    name: str,
    change: Commit,
    user_namespaces: Path,
    check: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.time,
) -> Iterator[tuple[ImageSource, str]]:
    """The new image as a source of that name (canonical), for the body to store.

    A lease, which is given with it, holds the layer until the end of the body. If that fails, all
    is gone afterwards.

    Args:
        names: a container whose snapshot is there, running or not.
        base: the image that it was made from.
        user_namespaces: as `Layout.user_namespaces`.
        check: asked while the layer is made; what it raises ends it.
        clock: Unix seconds.

    Raises:
        InvalidRequest: one of the changes cannot be made.
        ImageNotFound: the base's content is not on this node any more.
        NotFound: there is no such container.
        Exhausted, HostFailed and its children: from containerd.
    """
    before = _config_of(client, names, base)
    settings = changed(before.get("config") or {}, change.changes)
    with leases.temporary(client) as lease:
        layer, diff_id = difference.write(
            client, snapshotter, names, base.chain_id, lease, check, user_namespaces
        )
        created = datetime.fromtimestamp(clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        after = _config(before, base, settings, diff_id, change, created)
        config, config_data = _document(CONFIG, after)
        older = [{**one.document(), "mediaType": layer_type(one.media_type)} for one in base.layers]
        parts = {"config": config.document(), "layers": [*older, layer.document()]}
        manifest, data = _document(MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST, **parts})
        blobs = {config.digest: config_data, manifest.digest: data}
        yield _Source(name, InMemory([manifest], blobs)), lease


def _config_of(client: Client, names: Names, base: Resolved) -> Mapping[str, Any]:
    """The base's config as it is written; makes sure that its layers are there as well."""
    digest = base.config.digest
    try:
        document = content.read(client, digest, DOCUMENT_MAX)
        for layer in base.layers:
            digest = layer.digest
            if content.size(client, digest) is None:
                raise NotFound(f"cannot read {digest}: not found", object=digest)
    except NotFound as error:
        raise ImageNotFound(
            f"cannot commit {names.id}: the content of its image is not on this node any more "
            f"({digest})",
            object=base.target.digest,
            hint="pull or load the image again",
        ) from error
    return parse(document, digest)


def _config(
    before: Mapping[str, Any],
    base: Resolved,
    settings: Mapping[str, Any],
    diff_id: str,
    change: Commit,
    created: str,
) -> dict[str, Any]:
    """The base's config with the changes, one more layer, and its entry in the history."""
    entry = {"created": created, "created_by": _BY}
    entry |= {"author": change.author} if change.author else {}
    entry |= {"comment": change.message} if change.message else {}
    after = {key: value for key, value in before.items() if key not in _STALE}
    return after | {
        "created": created,
        **({"author": change.author} if change.author else {}),
        "config": dict(settings),
        "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids, diff_id]},
        "history": [*_history(before.get("history"), len(base.layers)), entry],
    }


def _history(value: Any, layers: int) -> Sequence[Mapping[str, Any]]:
    """Tools pair its entries with the layers: where it tells of too few, some are put before."""
    entries = value if isinstance(value, list) else []
    entries = [one for one in entries if isinstance(one, dict)]
    told = sum(not one.get("empty_layer") for one in entries)
    if told > layers:
        return [{}] * layers
    return [*[{}] * (layers - told), *entries]


def _document(media_type: str, value: Mapping[str, Any]) -> tuple[Descriptor, bytes]:
    data = json.dumps(value, sort_keys=True).encode()
    return Descriptor(media_type, digest_of(data), len(data)), data


@dataclass(frozen=True)
class _Source:
    """An `ImageSource` whose layers are in containerd already."""

    name: str
    content: InMemory

    @property
    def key(self) -> str:
        return self.content.candidates[0].digest

    def open(self, watch: Watch) -> AbstractContextManager[Content]:
        return nullcontext(self.content)
