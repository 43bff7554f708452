"""What the rows of each table say. Pure: values and the present time in, text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from longshore.cli import units
from longshore.cli.output import Column
from longshore.model.interest import GAP
from longshore.model.status import (
    Change,
    ContainerStatus,
    HealthStatus,
    NodeStatus,
    PortStatus,
)

Row = Sequence[str]
#: States in which something is at work; `ps` shows the others only with -a.
ACTIVE = frozenset(
    {"creating", "starting", "running", "paused", "restarting", "stopping", "deleting"}
)

CONTAINERS = (
    Column("ID"),
    Column("NAME", shrink=True),
    Column("IMAGE", shrink=True, keep_end=True),
    Column("COMMAND", shrink=True, optional=True),
    Column("STATUS"),
    Column("ADDRESS", optional=True),
    Column("PORTS", shrink=True),
)
NEIGHBOURS = (
    Column("NEIGHBOUR"),
    Column("STATE"),
    Column("VERSION"),
    Column("SINCE"),
    Column("DETAIL", shrink=True),
)
RESOURCES = (
    Column("RESOURCE"),
    Column("TOTAL", right=True, optional=True),
    Column("RESERVED", right=True, optional=True),
    Column("RATIO", right=True, optional=True),
    Column("CAPACITY", right=True),
    Column("CLAIMED", right=True),
    Column("FREE", right=True),
)
CANNOT = (Column("CANNOT"), Column("WHY", shrink=True))
STEPS = (Column("STEP"), Column("TOOK", right=True))
_SHORT_ID = 8
_COMMAND_MAX = 30
_ANY = "0.0.0.0"


def short_id(id: str) -> str:
    """A uuid's first group: enough to name it on a node."""
    return id[:_SHORT_ID]


def container_row(one: ContainerStatus, now: float, *, whole: bool) -> Row:
    command = " ".join(one.command)
    return (
        one.id if whole else short_id(one.id),
        one.name,
        one.image,
        command if whole or len(command) <= _COMMAND_MAX else command[: _COMMAND_MAX - 1] + "…",
        status_text(one, now),
        "the node's" if one.spec.get("host_network") else ", ".join(n.address for n in one.nics),
        ", ".join(port_text(port) for port in one.ports),
    )


def status_text(one: ContainerStatus, now: float) -> str:
    """`Up 3 minutes`, `Exited (0) 2 hours ago`, `Failed: port_in_use`, `Up 1 second, on trial`."""
    say = _STATUS.get(one.state)
    on_trial = ", on trial" if one.previous_version is not None else ""
    return f"{say(one, now) if say else one.state.capitalize()}{on_trial}"


def _exited(one: ContainerStatus, now: float) -> str:
    killed = ", out of memory" if one.out_of_memory is not None else ""
    code = "" if one.exit_code is None else f" ({one.exit_code}{killed})"
    when = "" if one.finished_at is None else f" {units.ago(one.finished_at, now)}"
    return f"Exited{code}{when}"


def _up(one: ContainerStatus, now: float) -> str:
    return f"Up {units.span(now - (one.started_at or now))}{_health(one.health)}"


def _health(health: HealthStatus | None) -> str:
    """As docker has it."""
    if health is None:
        return ""
    return f" (health: {health.state})" if health.state == "starting" else f" ({health.state})"


def _restarting(one: ContainerStatus, now: float) -> str:
    """`Restarting in 3 s (2 so far)`."""
    left = 0.0 if one.restart_at is None else one.restart_at - now
    when = f" in {max(1, round(left))} s" if left > 0 else ""
    return f"Restarting{when} ({one.restarts} so far)"


_STATUS: Mapping[str, Callable[[ContainerStatus, float], str]] = {
    "running": _up,
    "paused": lambda one, now: f"Up {units.span(now - (one.started_at or now))} (Paused)",
    "restarting": _restarting,
    "stopped": _exited,
    "error": lambda one, _: f"Error: {one.error.code if one.error else one.reason}",
    "created": lambda one, now: f"Created {units.ago(one.created_at, now)}",
    "failed": lambda one, _: f"Failed: {one.error.code if one.error else one.reason}",
}


def port_text(port: PortStatus) -> str:
    """`8080->80/tcp`, with the node's address where it is not all of them."""
    address = "" if port.host_ip == _ANY else f"{port.host_ip}:"
    return f"{address}{port.host_port}->{port.container_port}/{port.protocol}"


def node_facts(node: NodeStatus, now: float) -> list[tuple[str, str]]:
    uptime = units.span(now - node.started_at)
    states = ", ".join(f"{count} {state}" for state, count in sorted(node.containers.items()))
    return [
        ("Node", node.name),
        ("Agent", f"{node.version}, up {uptime}"),
        ("Kernel", node.kernel),
        ("Boot", node.boot_id),
        ("Runtime", _with_reason(node.runtime, node.runtime_why)),
        ("Cgroups", node.cgroup_mode),
        ("Snapshotter", _with_reason(node.snapshotter, node.snapshotter_why)),
        ("Containers", states or "none"),
        ("Converged", _converged(node, now)),
        *(("", f"- {finding}") for finding in node.converge.findings),
    ]


def neighbour_rows(node: NodeStatus, now: float) -> list[Row]:
    return [
        (
            one.name,
            one.state,
            one.version or "-",
            units.ago(one.since, now) if one.since else "-",
            one.detail,
        )
        for one in node.neighbours
    ]


def resource_rows(node: NodeStatus) -> list[Row]:
    return [
        (
            f"{one.name} (cores)" if one.unit == "cores" else one.name,
            *(units.quantity(value, one.unit) for value in (one.total, one.reserved)),
            units.quantity(one.ratio, "count"),
            *(units.quantity(value, one.unit) for value in (one.capacity, one.claimed, one.free)),
        )
        for one in node.resources
    ]


def cannot_rows(node: NodeStatus) -> list[Row]:
    return [(one.feature, one.why) for one in node.cannot]


def step_rows(one: ContainerStatus) -> list[Row]:
    total = sum(step.seconds for step in one.steps)
    rows = [(step.name, units.brief(step.seconds)) for step in one.steps]
    return [*rows, ("together", units.brief(total))]


def change_line(change: Change) -> str:
    """When, which, what, and why."""
    moment = units.moment(change.at)
    if change.kind == GAP:
        return f"{moment}  changes are missing here: {change.reason}"
    moved = f"{change.previous} -> {change.state}"
    what = moved if change.kind == "state" else f"{change.kind}, {change.state}"
    return f"{moment}  {change.name}  {what}  ({change.reason})"


def _with_reason(name: str, why: str) -> str:
    return f"{name}: {why}" if why else name


def _converged(node: NodeStatus, now: float) -> str:
    last = node.converge
    if last.at is None:
        return "not yet"
    found = f"{len(last.findings)} finding{'' if len(last.findings) == 1 else 's'}"
    return (
        f"{units.ago(last.at, now)} in {units.brief(last.seconds)}: "
        f"{last.containers} containers, {found if last.findings else 'nothing to mend'}"
    )
