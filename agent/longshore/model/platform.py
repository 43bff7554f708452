"""Which of an image's platforms a node can run, and which of those fits best. Pure.

The names are Go's, as OCI's image index has them. A processor family grows by variants that run
all that was built for lower ones; an image that names no variant is for the family's base.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

#: What kernels and careless builders write → Go's architecture and variant.
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv8l": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
}
#: Lowest first.
_VARIANTS = {
    "amd64": ("v1", "v2", "v3", "v4"),
    "arm64": ("v8",),
    "arm": ("v5", "v6", "v7"),
}
#: What a name without a variant means.
_BASE = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
#: Flags in /proc/cpuinfo that each level has beyond the one below (x86-64 psABI).
_LEVELS = (
    ("v2", {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    ("v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)


@dataclass(frozen=True)
class Platform:
    """What programs are built for. `variant` is empty where none is named."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def of_node(machine: str, flags: Collection[str] = ()) -> Platform:
    """The platform of a Linux node.

    Args:
        machine: as uname(2) has it.
        flags: of its processors, as /proc/cpuinfo has them.
    """
    architecture, variant = _ALIASES.get(machine, (machine, ""))
    if architecture == "amd64":
        variant = "v1"
        for level, needed in _LEVELS:
            if not needed.issubset(flags):
                break
            variant = level
    return Platform("linux", architecture, variant or _BASE.get(architecture, ""))


def fit(offered: Platform, node: Platform) -> int | None:
    """How well the node runs what is built for `offered`: higher is better, None: not at all."""
    architecture, implied = _ALIASES.get(offered.architecture, (offered.architecture, ""))
    if (offered.os, architecture) != (node.os, node.architecture):
        return None
    variant = offered.variant or implied or _BASE.get(architecture, "")
    variant = f"v{variant}" if variant.isdecimal() else variant
    order = _VARIANTS.get(architecture, ())
    if variant in order and node.variant in order:
        behind = order.index(node.variant) - order.index(variant)
        return len(order) - behind if behind >= 0 else None
    return 0 if variant == node.variant or not offered.variant else None
