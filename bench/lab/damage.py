"""Image archives that must be refused, each damaged in one way.

for damage in DAMAGES: damaged_archive(path, damage)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from bench.lab.image import Layout, digest_of, json_of, layout_of, tar_of


def damaged_archive(path: Path, damage: str, name: str = "damaged:latest") -> Path:
    """Writes an image with one of DAMAGES to `path` and returns it."""
    path.write_bytes(DAMAGES[damage](layout_of(name, [_layer(damage)])))
    return path


def _layer(damage: str) -> bytes:
    """One of its own for each damage: content that is there already would never be read."""
    return tar_of({f"data/{i}": sha256(f"{damage}{i}".encode()).digest() for i in range(500)})


def _biggest(layout: Layout) -> str:
    """Hex digest of the layer."""
    return max(layout.blobs, key=lambda digest: len(layout.blobs[digest]))


def _truncated(layout: Layout) -> bytes:
    whole = tar_of(layout.members())
    return whole[: len(whole) // 2]


def _flipped_byte(layout: Layout) -> bytes:
    layer = _biggest(layout)
    content = bytearray(layout.blobs[layer])
    content[len(content) // 2] ^= 0xFF
    layout.blobs[layer] = bytes(content)
    return tar_of(layout.members())


def _not_gzip(layout: Layout) -> bytes:
    """Rightly digested, and no layer at all."""
    manifest_digest = layout.manifests[0]["digest"].removeprefix("sha256:")
    manifest = json.loads(layout.blobs.pop(manifest_digest))
    del layout.blobs[_biggest(layout)]
    manifest["layers"] = [layout.add(manifest["layers"][0]["mediaType"], b"no layer\n" * 100)]
    layout.manifests[0] |= layout.add(layout.manifests[0]["mediaType"], json_of(manifest))
    return tar_of(layout.members())


def _wrong_diff_id(layout: Layout) -> bytes:
    """Rightly digested, and the layer unpacks to something else than the config says."""
    name = layout.manifests[0]["annotations"]["io.containerd.image.name"]
    lie = layout_of(name, [_layer("diff id")], diff_ids=[digest_of(b"something else")])
    return tar_of(lie.members())


def _missing_layer(layout: Layout) -> bytes:
    del layout.blobs[_biggest(layout)]
    return tar_of(layout.members())


def _missing_manifest(layout: Layout) -> bytes:
    del layout.blobs[layout.manifests[0]["digest"].removeprefix("sha256:")]
    return tar_of(layout.members())


def _missing_index(layout: Layout) -> bytes:
    members = layout.members()
    del members["index.json"]
    return tar_of(members)


def _index_not_json(layout: Layout) -> bytes:
    return tar_of({**layout.members(), "index.json": b'{"schemaVersion": 2, "manifests": ['})


def _escaping_digest(layout: Layout) -> bytes:
    layout.manifests[0]["digest"] = "sha256:../../../../etc/passwd"
    return tar_of(layout.members())


def _other_platform(layout: Layout) -> bytes:
    layout.manifests[0]["platform"] = {"architecture": "s390x", "os": "linux"}
    return tar_of(layout.members())


DAMAGES: Mapping[str, Callable[[Layout], bytes]] = {
    "empty": lambda layout: b"",
    "not-a-tar": lambda layout: b"no archive\n" * 1000,
    "truncated": _truncated,
    "flipped-byte": _flipped_byte,
    "not-gzip": _not_gzip,
    "wrong-diff-id": _wrong_diff_id,
    "missing-layer": _missing_layer,
    "missing-manifest": _missing_manifest,
    "missing-index": _missing_index,
    "index-not-json": _index_not_json,
    "escaping-digest": _escaping_digest,
    "other-platform": _other_platform,
}
