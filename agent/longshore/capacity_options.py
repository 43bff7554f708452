"""Options of how much of the node containers may be promised; see options.py."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg, types

from longshore.model.sizes import parse_size

_FLAVOR = types.String(regex=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$")


class Size(types.Integer):  # type: ignore[misc]  # oslo.config has no types
    """Bytes, also as `20g`."""

    def __call__(self, value: Any) -> Any:
        return super().__call__(parse_size(value) if isinstance(value, str) else value)


CAPACITY: dict[str, list[cfg.Opt]] = {
    "flavors": [
        cfg.StrOpt(
            "file",
            default="/etc/longshore/flavors.toml",
            mutable=True,
            help="Flavors that requests may name; a file that need not be there.",
        ),
        cfg.Opt(
            "default",
            type=_FLAVOR,
            default=None,
            mutable=True,
            sample_default="none: what no request limits is not limited",
            help="Flavor of a request that names none.",
        ),
    ],
    "reserve": [
        cfg.FloatOpt(
            "cpus",
            default=0.0,
            mutable=True,
            min=0.0,
            help="Cores of the node that no container is promised.",
        ),
        cfg.Opt(
            "memory",
            type=Size(min=0),
            default=512 * 2**20,
            mutable=True,
            help="Bytes of its memory that none is, like 2g: for the kernel, containerd and this "
            "agent.",
        ),
        cfg.Opt(
            "disk",
            type=Size(min=0),
            default=0,
            mutable=True,
            help="Bytes of the disk of containers' layers that none is, like 20g: for images and "
            "volumes.",
        ),
        cfg.IntOpt(
            "pids", default=1024, mutable=True, min=0, help="Processes of the node that none is."
        ),
    ],
    "overcommit": [
        cfg.FloatOpt(
            "cpus",
            default=4.0,
            mutable=True,
            min=0.01,
            max=1000.0,
            help="How often the other cores are promised: containers seldom all need their quota "
            "at once, and when they do the kernel shares the time out by their cpu_shares.",
        ),
        cfg.FloatOpt(
            "memory",
            default=1.0,
            mutable=True,
            min=0.01,
            max=1000.0,
            help="How often the other memory is: above 1 the kernel may have to kill a container "
            "that is within its limit.",
        ),
        cfg.FloatOpt(
            "disk",
            default=1.0,
            mutable=True,
            min=0.01,
            max=1000.0,
            help="How often the other disk is: above 1 it may be full for those within theirs.",
        ),
        cfg.FloatOpt(
            "pids",
            default=1.0,
            mutable=True,
            min=0.01,
            max=1000.0,
            help="How often the other processes are: above 1 all may be used up for the node.",
        ),
    ],
}
