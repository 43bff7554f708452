"""What the rows about images and their transfers say; as `tables`."""

from __future__ import annotations

import json
import shlex

from longshore.cli import units
from longshore.cli.output import Column
from longshore.cli.tables import Row
from longshore.model.status import ImageDetail, ImageStatus, NodeStatus

IMAGES = (
    Column("NAME", shrink=True, keep_end=True),
    Column("DIGEST"),
    Column("SIZE", right=True),
    Column("AGE"),
    Column("USED BY", shrink=True),
)
LAYERS = (
    Column("LAYER", shrink=True),
    Column("SIZE", right=True),
    Column("TYPE"),
)
TRANSFERS = (
    Column("TRANSFER"),
    Column("IMAGE", shrink=True, keep_end=True),
    Column("STATE"),
    Column("DONE", right=True),
    Column("LAYERS", right=True),
    Column("WAITERS", right=True, optional=True),
    Column("SINCE"),
    Column("ERROR", shrink=True),
)
_SHORT_DIGEST = 12


def short_digest(digest: str) -> str:
    """The beginning of its hexadecimal digits, as docker shows images and layers."""
    return digest.rpartition(":")[2][:_SHORT_DIGEST]


def image_row(one: ImageStatus, now: float, *, whole: bool) -> Row:
    return (
        one.name if whole else _short_name(one.name),
        one.digest if whole else short_digest(one.digest),
        units.size(one.size) if one.size else "broken",
        units.span(now - one.created_at) if one.created_at > 0 else "-",
        ", ".join(one.used_by),
    )


def _short_name(name: str) -> str:
    """The digest of a name by digest, as the column beside it has it."""
    repository, at, digest = name.partition("@sha256:")
    return f"{repository}{at}{short_digest(digest)}…" if at else name


def image_facts(one: ImageDetail, now: float) -> list[tuple[str, str]]:
    """The whole of an image for people; what is not there is left out."""
    facts = [
        ("Image", one.name),
        *(("Also", name) for name in one.names if name != one.name),
        ("Digest", one.digest),
        ("Platform", one.platform),
        ("Size", units.size(one.size)),
        ("Created", units.moment(one.created_at) if one.created_at > 0 else ""),
        ("Used", units.ago(one.used_at, now) if one.used_at else ""),
        ("Used by", ", ".join(one.used_by)),
        ("Entrypoint", shlex.join(one.entrypoint)),
        ("Command", shlex.join(one.command)),
        ("Folder", one.workdir),
        ("User", one.user),
        ("Stop signal", one.stop_signal),
        ("Exposes", ", ".join(one.exposed_ports)),
        ("Volumes", ", ".join(one.volumes)),
        ("Healthcheck", json.dumps(one.healthcheck) if one.healthcheck else ""),
        *(("Env", text) for text in one.env),
        *(("Label", f"{key}={value}") for key, value in sorted(one.labels.items())),
    ]
    return [(name, value) for name, value in facts if value]


def layer_rows(one: ImageDetail) -> list[Row]:
    return [
        (layer.digest, units.size(layer.size), layer.media_type.rpartition("/")[2])
        for layer in one.layers
    ]


def transfer_rows(node: NodeStatus, now: float) -> list[Row]:
    return [
        (
            one.direction,
            one.image,
            one.state,
            f"{units.share(one.done, one.total)} ({100 * one.done // one.total} %)"
            if one.total
            else "-",
            f"{sum(layer.state == 'done' for layer in one.layers)}/{len(one.layers)}",
            str(one.waiters),
            units.ago(one.started_at, now) if one.started_at else "-",
            one.error.message if one.error else "",
        )
        for one in node.transfers
    ]
