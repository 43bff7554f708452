"""containerd's record with the OCI spec: from here on it keeps the snapshot from collection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    _put(context, _oci(context))
    context.host.rootfs.release(context.names)


def undo(host: Host, names: Names) -> None:
    host.records.remove(names)


def renew(context: Context) -> None:
    """Before a start, with all volumes mounted: what the spec names may be another device, disk or
    program by now, or mounted otherwise (a boot, a plug, a package). Mostly nothing is."""
    oci = _oci(context)
    if _digest(oci) != context.record.facts.oci:
        _put(context, oci)


def labels(name: str, own: dict[str, str]) -> dict[str, str]:
    """What `ctr` shows beside the container: the image's and the user's labels, and its name."""
    return {**own, "longshore/name": name}


def _oci(context: Context) -> Mapping[str, Any]:
    record, facts = context.record, context.record.facts
    assert facts.image is not None
    assert facts.user is not None
    return context.host.oci(record.spec, record.names, facts.image.config, facts.user, facts.ids)


def _put(context: Context, oci: Mapping[str, Any]) -> None:
    host, record, image = context.host, context.record, context.record.facts.image
    assert image is not None
    own = {**image.config.labels, **record.spec.labels}
    host.records.put(record.names, image, oci, labels(record.spec.name, own))
    context.learn(oci=_digest(oci))


def _digest(oci: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(oci, sort_keys=True).encode()).hexdigest()


STEP = Step("record", do, undo)
