"""Images whose documents or layers are lies, as a registry has them.

for name, make in BAD_IMAGES.items(): registry.serve(make(name))

Each has content of its own: what is in the store already would never be fetched. damage.py does
the same for archives.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from bench.lab.image import Config, Layout, digest_of, json_of, layout_of, tar_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def good(seed: str, layers: int = 2, size: int = 40_000) -> Layout:
    """An image that nothing is wrong with. Its layers hold what compresses badly.

    Args:
        seed: other content for each.
        size: bytes of each layer, about.
    """
    return layout_of(f"{seed}:latest", [_layer(f"{seed}{i}", size) for i in range(layers)])


def manifest_of(layout: Layout) -> dict[str, Any]:
    """The layout's last manifest, parsed."""
    return parsed(layout, layout.manifests[-1])


def parsed(layout: Layout, descriptor: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(layout.blobs[descriptor["digest"].removeprefix("sha256:")]))


def with_manifest(layout: Layout, manifest: Any, media: str = MANIFEST) -> Layout:
    """The same blobs under another manifest; bytes stand for themselves."""
    content = manifest if isinstance(manifest, bytes) else json_of(manifest)
    platform = layout.manifests[-1]["platform"]
    layout.manifests.append(layout.add(media, content) | {"platform": platform})
    return layout


def with_config(layout: Layout, **changes: Any) -> Layout:
    """Another config with these fields; `None` takes one away."""
    manifest = manifest_of(layout)
    config = {**parsed(layout, manifest["config"]), **changes}
    kept = {name: value for name, value in config.items() if value is not None}
    manifest["config"] = layout.add(manifest["config"]["mediaType"], json_of(kept))
    return with_manifest(layout, manifest)


def with_layer(layout: Layout, content: bytes, media: str = LAYER, **changes: Any) -> Layout:
    """Another last layer, rightly digested, of which the config does not know."""
    manifest = manifest_of(layout)
    manifest["layers"][-1] = layout.add(media, content) | changes
    return with_manifest(layout, manifest)


def with_descriptor(layout: Layout, key: str, **changes: Any) -> Layout:
    """Changes the descriptor of the last layer (`layers`) or of the config (`config`)."""
    manifest = manifest_of(layout)
    found = manifest[key]
    (found[-1] if isinstance(found, list) else found).update(changes)
    return with_manifest(layout, manifest)


def index_of(layout: Layout, platforms: Sequence[Mapping[str, str]]) -> Layout:
    """An index that says the last manifest is for each of these."""
    inner = layout.manifests[-1]
    entries = [{**inner, "platform": dict(platform)} for platform in platforms]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    return with_manifest(layout, index, INDEX)


def nested(layout: Layout, depth: int) -> Layout:
    platform = layout.manifests[-1]["platform"]
    for _ in range(depth):
        index_of(layout, [platform])
    return layout


def _layer(seed: str, size: int) -> bytes:
    blocks = [sha256(f"{seed}{i}".encode()).digest() for i in range(size // 32)]
    return tar_of({f"data/{sha256(seed.encode()).hexdigest()[:12]}": b"".join(blocks)})


def _without(layout: Layout, key: str) -> Layout:
    manifest = manifest_of(layout)
    wanted = manifest[key][-1] if isinstance(manifest[key], list) else manifest[key]
    del layout.blobs[wanted["digest"].removeprefix("sha256:")]
    return layout


def _truncated_gzip(layout: Layout, seed: str) -> Layout:
    whole = gzip.compress(_layer(seed + "cut", 40_000), 1, mtime=0)
    return with_layer(layout, whole[: len(whole) // 2])


def _schema1(layout: Layout) -> Layout:
    old = {"schemaVersion": 1, "name": "old", "tag": "latest", "architecture": "amd64",
           "fsLayers": [{"blobSum": layout.manifests[0]["digest"]}], "history": []}  # fmt: skip
    return with_manifest(layout, old, SCHEMA1)


def _deep_json(layout: Layout) -> Layout:
    return with_manifest(layout, b"[" * 200_000)


def _bomb(layout: Layout) -> Layout:
    """64 MiB of zeros in a few KiB, and it is not what the config promises."""
    return with_layer(layout, gzip.compress(tar_of({"bomb": bytes(64 * 2**20)}), 9, mtime=0))


#: What is wrong → how it is made, from a seed.
BAD_IMAGES: Mapping[str, Callable[[str], Layout]] = {
    "manifest is not JSON": lambda seed: with_manifest(good(seed), f"<{seed}".encode()),
    "manifest is a list": lambda seed: with_manifest(good(seed), [seed]),
    "manifest is nested absurdly": lambda seed: _deep_json(good(seed)),
    "manifest has no layers": lambda seed: with_manifest(
        good(seed), {**manifest_of(good(seed)), "layers": []}
    ),
    "manifest is huge": lambda seed: with_manifest(
        good(seed), {**manifest_of(good(seed)), "padding": "x" * 9_000_000}
    ),
    "manifest is Docker's schema 1": lambda seed: _schema1(good(seed)),
    "manifest's media type is unknown": lambda seed: with_manifest(
        good(seed), manifest_of(good(seed)) | {"mediaType": "text/plain"}, "text/plain"
    ),
    "index has other platforms alone": lambda seed: index_of(
        good(seed),
        [{"os": "linux", "architecture": "s390x"}, {"os": "windows", "architecture": "amd64"}],
    ),
    "index is empty": lambda seed: index_of(good(seed), []),
    "indexes are nested too deeply": lambda seed: nested(good(seed), 8),
    "config is for another platform": lambda seed: with_config(good(seed), architecture="s390x"),
    "config is for another system": lambda seed: with_config(good(seed), os="windows"),
    "config is not there": lambda seed: _without(good(seed), "config"),
    "config is an artifact's": lambda seed: with_descriptor(
        good(seed), "config", mediaType="application/vnd.cncf.helm.config.v1+json"
    ),
    "config is huge": lambda seed: with_config(good(seed), padding="x" * 9_000_000),
    "config's fields have wrong types": lambda seed: with_config(good(seed), config={"Cmd": "sh"}),
    "config has fewer diff_ids": lambda seed: with_config(
        good(seed), rootfs={"type": "layers", "diff_ids": [digest_of(seed.encode())]}
    ),
    "config's diff_ids are no digests": lambda seed: with_config(
        good(seed), rootfs={"type": "layers", "diff_ids": ["../../etc", "sha256:0"]}
    ),
    "diff_id is a lie": lambda seed: layout_of(
        f"{seed}:latest", [_layer(seed, 40_000)], Config(), diff_ids=[digest_of(seed.encode())]
    ),
    "layer is not there": lambda seed: _without(good(seed), "layers"),
    "layer's size is said too small": lambda seed: with_descriptor(
        good(seed), "layers", size=manifest_of(good(seed))["layers"][-1]["size"] - 7
    ),
    "layer's size is said too large": lambda seed: with_descriptor(
        good(seed), "layers", size=manifest_of(good(seed))["layers"][-1]["size"] + 7
    ),
    "layer's size is negative": lambda seed: with_descriptor(good(seed), "layers", size=-1),
    "layer's size is past all disks": lambda seed: with_descriptor(
        good(seed), "layers", size=2**62
    ),
    "layer's digest is a path": lambda seed: with_descriptor(
        good(seed), "layers", digest="sha256:../../../../etc/passwd"
    ),
    "layer's digest is of another kind": lambda seed: with_descriptor(
        good(seed), "layers", digest="md5:d41d8cd98f00b204e9800998ecf8427e"
    ),
    "layer is not gzip": lambda seed: with_layer(good(seed), sha256(seed.encode()).digest() * 999),
    "layer's gzip is cut off": lambda seed: _truncated_gzip(good(seed), seed),
    "layer is no tar": lambda seed: with_layer(
        good(seed), gzip.compress(sha256(seed.encode()).digest() * 999, 1, mtime=0)
    ),
    "layer is a bomb": lambda seed: _bomb(good(seed)),
    "layer's media type is unknown": lambda seed: with_layer(
        good(seed), seed.encode(), "application/x-lab"
    ),
    "layer is foreign": lambda seed: with_descriptor(
        good(seed), "layers", urls=["http://127.0.0.1:1/layer"],
        mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
}  # fmt: skip
