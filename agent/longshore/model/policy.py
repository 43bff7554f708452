"""What this node refuses whoever asks: more than it has, and what its operator forbids.

Each rule of the operator's is one row of RULES or PLACES, named like the option that it comes
from. A request that breaks one is refused with that name, so that whoever asked knows what would
have to be changed, and by whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from longshore.errors import InvalidSpec, LongshoreError, PolicyForbids
from longshore.model.limits import cpus_of
from longshore.model.linux import CAPABILITIES, DEFAULT_CAPABILITIES
from longshore.model.spec import ContainerSpec

#: Annotations that begin so are orders to a runtime, a shim, systemd or CRIU, some of which reach
#: past the container: crun's `run.oci.hooks.stdout` writes to a file of the node.
ORDERS = (
    "run.oci.",
    "org.criu.",
    "org.systemd.",
    "org.opencontainers.runc.",
    "io.containerd.",
    "io.kubernetes.",
    "io.katacontainers.",
    "dev.gvisor.",
)
_ADD = "its operator would have to add"


@dataclass(frozen=True)
class Ceiling:
    """What the node has, and nothing else can be asked for. How much of it, `capacity` says.

    Args:
        cpus: their numbers.
        networks: names that a nic may ask for.
    """

    cpus: frozenset[int]
    networks: frozenset[str]


@dataclass(frozen=True)
class DeviceRule:
    """Paths that may be asked for, as a pattern in which * stays within one folder; a folder
    stands for all that is in it. `access`: of r, w and m."""

    pattern: str
    access: str = "rwm"

    @classmethod
    def parse(cls, text: str) -> DeviceRule:
        """`/dev/fuse:rw`."""
        pattern, _, access = text.partition(":")
        return cls(pattern, access or "rwm")

    def covers(self, path: str) -> bool:
        asked = PurePosixPath(path)
        return any(one.match(self.pattern) for one in (asked, *asked.parents))


@dataclass(frozen=True)
class Rules:
    """What the operator lets containers have; the defaults allow nothing.

    Args:
        capabilities: what `cap_add` may name, without CAP_.
        sysctls, annotations: patterns in which * stands for anything. Annotations that order
            nothing need none.
    """

    allow_privileged: bool = False
    allow_host_network: bool = False
    require_user_namespace: bool = False
    capabilities: frozenset[str] = frozenset(DEFAULT_CAPABILITIES)
    devices: tuple[DeviceRule, ...] = ()
    sysctls: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Breach:
    """What of a request breaks a rule."""

    field: str
    what: str
    hint: str


def capabilities(allowed: Iterable[str]) -> frozenset[str]:
    """What `cap_add` may name where the operator allows `allowed` (of which ALL is each one).

    The default ones are always among them: a container has those without asking, and one that
    dropped ALL may take them back.
    """
    allowed = frozenset(allowed)
    return frozenset(CAPABILITIES if "ALL" in allowed else allowed | set(DEFAULT_CAPABILITIES))


def check(spec: ContainerSpec, ceiling: Ceiling, rules: Rules) -> None:
    """Raises:
    InvalidSpec: with every field that names what this node has not.
    PolicyForbids: it asks for what the operator does not allow.
    """
    check_rules(spec, rules)
    faults = [{"field": field, "why": why} for field, why in _faults(spec, ceiling)]
    if faults:
        raise _invalid(spec.name, faults)


def check_rules(spec: ContainerSpec, rules: Rules) -> None:
    """Raises PolicyForbids, with every breach of the first rule that is broken."""
    for name, rule in RULES.items():
        breaches = list(rule(spec, rules))
        if breaches:
            first = breaches[0]
            more = f" (and {len(breaches) - 1} more)" if len(breaches) > 1 else ""
            raise PolicyForbids(
                f"cannot run container {spec.name}: this node {first.what}{more}",
                field=first.field,
                object=spec.name,
                hint=first.hint,
                details={
                    "rule": name,
                    "faults": [
                        {"field": one.field, "why": f"this node {one.what}"} for one in breaches
                    ],
                },
            )


def check_privileged(name: str, rules: Rules) -> None:
    """Raises PolicyForbids if a command in container `name` may not have every capability."""
    if not rules.allow_privileged:
        raise PolicyForbids(
            f"cannot run a command in container {name}: this node allows no privileged ones",
            field="privileged",
            object=name,
            hint="its operator would have to set [policy] allow_privileged",
            details={"rule": "policy.allow_privileged"},
        )


def _privileged(spec: ContainerSpec, rules: Rules) -> Iterator[Breach]:
    """privileged, and NET_ADMIN in the node's own network: that is root over all of it"""
    hint = "its operator would have to set [policy] allow_privileged"
    if rules.allow_privileged:
        return
    if spec.security.privileged:
        yield Breach("security.privileged", "allows no privileged containers", hint)
    if spec.host_network:
        for index, name in enumerate(spec.security.cap_add):
            if name in ("ALL", "NET_ADMIN"):
                what = f"does not allow capability {name} in its own network"
                yield Breach(f"security.cap_add[{index}]", what, hint)


def _capabilities(spec: ContainerSpec, rules: Rules) -> Iterator[Breach]:
    """capabilities beyond the default ones"""
    if spec.security.privileged:
        return  # It has all of them: what it adds changes nothing.
    for index, name in enumerate(spec.security.cap_add):
        wanted = set(CAPABILITIES) if name == "ALL" else {name}
        if forbidden := sorted(wanted - rules.capabilities):
            what = f"{name}, which includes {forbidden[0]}" if name == "ALL" else name
            yield Breach(
                f"security.cap_add[{index}]",
                f"does not allow capability {what}",
                f"{_ADD} {name} to [policy] allowed_capabilities",
            )


def _devices(spec: ContainerSpec, rules: Rules) -> Iterator[Breach]:
    """devices of the node"""
    if spec.security.privileged:
        return  # As above.
    for index, device in enumerate(spec.security.devices):
        covering = [rule for rule in rules.devices if rule.covers(device.source)]
        missing = set(device.access) - {one for rule in covering for one in rule.access}
        if missing:
            access = f" with access {device.access}" if covering else ""
            yield Breach(
                f"security.devices[{index}]" + (".access" if covering else ".source"),
                f"does not allow device {device.source}{access}",
                f"{_ADD} {device.source}:{device.access} to [policy] allowed_devices",
            )


def _sysctls(spec: ContainerSpec, rules: Rules) -> Iterator[Breach]:
    """sysctls of the container's own namespaces"""
    if spec.security.privileged:
        return  # It may write to /proc/sys.
    for name in spec.security.sysctls:
        if not any(fnmatchcase(name, pattern) for pattern in rules.sysctls):
            yield Breach(
                f"security.sysctls[{name}]",
                f"does not allow sysctl {name}",
                f"{_ADD} {name} to [policy] allowed_sysctls",
            )


def _annotations(spec: ContainerSpec, rules: Rules) -> Iterator[Breach]:
    """annotations that are orders to a runtime, a shim, systemd or CRIU; all others are free"""
    for name in spec.annotations:
        if name.startswith(ORDERS) and not any(fnmatchcase(name, p) for p in rules.annotations):
            yield Breach(
                f"annotations[{name}]",
                f"does not allow annotation {name}, which is an order to its runtime",
                f"{_ADD} {name} to [policy] allowed_annotations",
            )


def _host_network(spec: ContainerSpec, rules: Rules) -> Iterator[Breach]:
    """host_network"""
    if spec.host_network and not rules.allow_host_network:
        what = "lets no container into its own network"
        hint = "its operator would have to set [policy] allow_host_network"
        yield Breach("host_network", what, hint)


def _user_namespace(spec: ContainerSpec, rules: Rules) -> Iterator[Breach]:
    """a container without a user namespace of its own, and so a privileged one too"""
    if rules.require_user_namespace and not spec.security.user_namespace:
        what = "takes no container without a user namespace"
        yield Breach("security.user_namespace", what, "ask for security.user_namespace")


#: Options that name folders, which paths of a request must stay beneath; checked where those are
#: opened. → what that forbids.
PLACES: Mapping[str, str] = {
    "volumes.roots": "bind sources that lie, or lead through a link, outside of these folders",
    "secrets.folder": "references to secrets that lead out of it",
    "images.archive_roots": "archives outside of these folders, for who asks by the bus",
}
#: Option → what of a request it forbids.
RULES: Mapping[str, Callable[[ContainerSpec, Rules], Iterator[Breach]]] = {
    "policy.allow_privileged": _privileged,
    "policy.allowed_capabilities": _capabilities,
    "policy.allowed_devices": _devices,
    "policy.allowed_sysctls": _sysctls,
    "policy.allowed_annotations": _annotations,
    "policy.allow_host_network": _host_network,
    "policy.require_user_namespace": _user_namespace,
}


def _invalid(name: str, faults: list[dict[str, str]]) -> LongshoreError:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return InvalidSpec(
        f"cannot create container {name}: {faults[0]['field']}: {faults[0]['why']}{more}",
        field=faults[0]["field"],
        object=name,
        details={"faults": faults},
    )


def _faults(spec: ContainerSpec, ceiling: Ceiling) -> Iterator[tuple[str, str]]:
    limits = spec.limits
    if limits.cpuset is not None and (extra := cpus_of(limits.cpuset) - ceiling.cpus):
        yield "limits.cpuset", f"this node has no CPU {', '.join(map(str, sorted(extra)))}"
    for index, nic in enumerate(spec.interfaces):
        if nic.network not in ceiling.networks:
            known = ", ".join(sorted(ceiling.networks)) or "none"
            yield (
                f"nics[{index}].network",
                f"this node has no network {nic.network} (it has {known})",
            )
