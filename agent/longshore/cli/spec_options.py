"""The options of `run` and `create` that go into the spec: one row each, docker's where it has one.

What is not in the spec is `making`'s; how a row's text is read is `notations`', `mount_notations`'
and `injections`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from longshore.cli import injections, mount_notations, notations, units
from longshore.cli.agent import complete_flavor, complete_image
from longshore.cli.transfers import Policy

F = TypeVar("F", bound=Callable[..., Any])


class Notation(click.ParamType[Any]):
    """An option's text by one of our parsers, whose ValueError names the option."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = Notation("size", units.parse_size)
SECONDS = Notation("seconds", units.parse_seconds)
CORES = Notation("cores", units.parse_cpus)


def listed(values: Sequence[Any]) -> list[Any]:
    """A range of ports is several in one option."""
    return [one for value in values for one in (value if isinstance(value, list) else [value])]


@dataclass(frozen=True)
class Option:
    """Where an option's value goes in the spec: `field` is a path; nested by a dot.

    `value`: what a flag stands for. `gather`: what becomes of those of an option that may be given
    more than once; ValueError where they contradict each other.
    """

    flags: tuple[str, ...]
    field: str
    type: click.ParamType[Any] | type
    help: str
    is_flag: bool = False
    value: Any = True
    gather: Callable[[Sequence[Any]], Any] | None = None
    complete: Callable[..., Any] | None = None

    @property
    def variable(self) -> str:
        return max(self.flags, key=len).lstrip("-").replace("-", "_")


def _flag(flags: tuple[str, ...], field: str, help: str, value: Any = True) -> Option:
    return Option(flags, field, bool, help, is_flag=True, value=value)


def _many(
    flags: tuple[str, ...],
    field: str,
    name: str,
    parse: Callable[[str], Any],
    help: str,
    gather: Callable[[Sequence[Any]], Any] = listed,
) -> Option:
    return Option(flags, field, Notation(name, parse), help, gather=gather)


def _map(
    flags: tuple[str, ...], field: str, name: str, parse: Callable[[str], Any], help: str
) -> Option:
    """`parse` makes pairs."""
    return _many(flags, field, name, parse, help, notations.mapping)


def _rate(
    kind: Literal["read_bps", "write_bps", "read_iops", "write_iops"], rate: str, help: str
) -> Option:
    """An `IoLimit`; those of one device become one (`notations.by_device`)."""
    return _many(
        (f"--device-{kind.replace('_', '-')}",),
        "limits.io",
        f"device:{rate}",
        notations.io_limit(kind),
        help,
    )


OPTIONS = (
    Option(("--id",), "id", str, "A uuid for it; otherwise a new one."),
    Option(("--name",), "name", str, "Unique on the node; otherwise made from image and id."),
    Option(("--pull",), "pull", Policy(),
           "When to ask the image's source; otherwise if-not-present."),
    Option(("--image-credential",), "image_credential", str,
           "One of the node's configured credentials, for the image's registry."),
    Option(("--flavor",), "flavor", Notation("name", notations.flavor),
           "Limits of the node's flavor; the options below win.", complete=complete_flavor),
    Option(("--memory", "-m"), "limits.memory", SIZE, "Memory, like 256m or 1.5g."),
    Option(("--memory-reservation",), "limits.memory_reservation", SIZE,
           "Memory that it keeps when the node runs short."),
    Option(("--memory-swap",), "limits.memory_swap", SIZE, "Memory and swap together."),
    Option(("--oom-policy",), "limits.oom_policy", click.Choice(["continue", "kill", "pause"]),
           "At the memory limit one process is killed, or all, or they wait; otherwise continue."),
    _flag(("--oom-kill-disable",), "limits.oom_policy", "The same as --oom-policy pause.", "pause"),
    Option(("--oom-score-adj",), "limits.oom_score_adj", int,
           "Who is killed when the whole node runs short: -1000 (last) to 1000."),
    Option(("--cpus",), "limits.cpus", CORES, "CPU time in cores, like 0.5."),
    Option(("--cpu-shares", "-c"), "limits.cpu_shares", int, "Weight when CPUs are short."),
    Option(("--cpuset-cpus",), "limits.cpuset", str, "The CPUs it may run on, like 0-3,5."),
    Option(("--pids-limit",), "limits.pids", int, "Processes and threads."),
    _many(("--ulimit",), "limits.ulimits", "limit", notations.ulimit, "NAME=SOFT[:HARD]."),
    Option(("--shm-size",), "limits.shm_size", SIZE, "Size of /dev/shm; otherwise 64m."),
    Option(("--disk",), "limits.disk", SIZE, "What it may write beside its volumes."),
    Option(("--storage-opt",), "limits.disk", Notation("size", notations.storage_opt),
           "size=SIZE: the same as --disk SIZE."),
    Option(("--blkio-weight",), "limits.io_weight", int, "Share of block I/O: 10 to 1000."),
    _rate("read_bps", "size", "DEVICE:BYTES a second, like /dev/sda:10m."),
    _rate("write_bps", "size", "The same of writes."),
    _rate("read_iops", "count", "DEVICE:OPERATIONS a second."),
    _rate("write_iops", "count", "The same of writes."),
    _map(("--hugepages",), "limits.hugepages", "size=bytes", notations.hugepages,
         "Of a size of page, like 2MB=64m."),
    _many(
        ("--publish", "-p"),
        "ports",
        "port",
        notations.ports,
        "[IP:][HOST:]CONTAINER[/udp]; without HOST the node picks one. Ranges: 8000-8005:80-85.",
    ),
    _many(("--volume", "-v"), "mounts", "volume", mount_notations.volume,
          "SOURCE:TARGET[:ro,rshared]: a path of the node; or the name of a volume, "
          "NAME:TARGET[:ro,nocopy]; TARGET alone: an anonymous volume."),
    _many(("--mount",), "mounts", "mount", mount_notations.mount,
          "type=bind|volume|tmpfs,source=…,target=…,readonly and more."),
    _many(("--tmpfs",), "mounts", "tmpfs", mount_notations.tmpfs,
          "TARGET[:size=64m,mode=1777,exec]."),
    _many(("--volumes-from",), "volumes_from", "container", mount_notations.volumes_from,
          "CONTAINER[:ro]: all that is mounted in another."),
    _many(("--file",), "files", "file", injections.file,
          "TARGET=PATH[,mode=644,uid=0,gid=0]: a small file of this machine's."),
    _many(("--secret",), "secrets", "secret", injections.secret,
          "id=NAME[,src=PATH|env=VARIABLE|ref=NAME][,target=PATH,mode=400,uid=0,gid=0]; "
          "otherwise the node's secret of that name."),
    _many(("--key-pair", "--ssh-key"), "key_pair", "key", injections.key_pair,
          "[NAME=]FILE.pub: public keys that may log in as the container's user.",
          injections.one_pair),
    Option(("--entrypoint",), "entrypoint", Notation("word", notations.entrypoint),
           "In place of the image's; '' for none."),
    _flag(("--interactive", "-i"), "stdin", "Its process reads what is typed, piped or attached."),
    _flag(("--tty", "-t"), "tty", "A terminal for its process."),
    _flag(("--init",), "init", "A process of the node's first, which reaps zombies."),
    Option(("--user", "-u"), "user", str, "USER[:GROUP], names or numbers."),
    _many(("--group-add",), "groups", "group", str, "A group more, by name or number."),
    Option(("--workdir", "-w"), "workdir", str, "Where the command starts."),
    Option(("--hostname", "-h"), "hostname", str, "Otherwise the container's name."),
    Option(("--domainname",), "domain", str, "What follows the host's name in its full name."),
    _map(("--add-host",), "hosts", "host:address", notations.host, "A line of /etc/hosts."),
    _many(("--dns",), "dns.servers", "address", str, "Resolver; otherwise the node's."),
    _many(("--dns-search",), "dns.search", "domain", str, "Tried behind short names."),
    _many(("--dns-option",), "dns.options", "option", str, "Of resolv.conf, like ndots:2."),
    Option(("--tz",), "timezone", str, "Like Europe/Berlin; otherwise the image's."),
    _map(("--annotation",), "annotations", "key=value", notations.pair,
         "For runtimes and their hooks."),
    _many(("--cap-add",), "security.cap_add", "name", notations.capability, "One, or ALL."),
    _many(("--cap-drop",), "security.cap_drop", "name", notations.capability, "One, or ALL."),
    _flag(("--read-only",), "security.read_only_rootfs", "Nothing but its mounts can be written."),
    _flag(("--privileged",), "security.privileged",
          "Every capability and device, if the node's policy allows it."),
    Option(("--userns",), "security.user_namespace", Notation("private|host", notations.userns),
           "private: its root is nobody on the node."),
    _map(("--sysctl",), "security.sysctls", "name=value", notations.pair,
         "A kernel setting of its own namespaces."),
    _many(("--device",), "security.devices", "device", notations.device,
          "SOURCE[:TARGET][:rwm]: a device of the node."),
    Option(("--stop-signal",), "stop_signal", Notation("signal", notations.stop_signal),
           "What stop sends first; otherwise the image's, or SIGTERM."),
    Option(("--health-cmd",), "health", Notation("command", notations.health_command),
           "What to run in it by its shell; 0 is healthy. Otherwise as the image says."),
    Option(("--health-http",), "health", Notation("port[/path]", notations.health_http),
           "[https:]PORT[/PATH]: a page in its network; 200 to 399 is healthy."),
    Option(("--health-tcp",), "health", Notation("port", notations.health_tcp),
           "A port in its network; healthy if it can be connected to."),
    _flag(("--no-healthcheck",), "health", "Nothing is probed, whatever the image says.",
          notations.NO_HEALTHCHECK),
    Option(("--health-interval",), "health.interval", SECONDS,
           "From a probe to the next; otherwise 30s."),
    Option(("--health-timeout",), "health.timeout", SECONDS,
           "What a probe may take; otherwise 30s."),
    Option(("--health-retries",), "health.retries", int,
           "Failures in a row that make it unhealthy; otherwise 3."),
    Option(("--health-start-period",), "health.start_period", SECONDS,
           "After its start, when failures do not count; otherwise 0s."),
    Option(("--on-unhealthy",), "health.on_unhealthy",
           click.Choice(["none", "restart", "stop", "kill"]),
           "What is done then; kill leaves the rest to its restart policy. Otherwise none."),
    Option(("--health-budget",), "health.budget", int,
           "How often in an hour that is done; otherwise 5."),
    _flag(("--rm",), "auto_remove", "Delete it once it has ended."),
    Option(("--restart",), "restart", Notation("policy", notations.restart),
           "Start it again once it has ended: no (the default), on-failure[:TIMES], always or "
           "unless-stopped."),
    Option(("--stop-timeout",), "stop_grace", SECONDS, "Seconds until SIGKILL; otherwise 10."),
)  # fmt: skip


#: Parameter → where its value goes in the spec, of all that go there.
SPEC_FIELDS: Mapping[str, str] = {
    **{one.variable: one.field for one in OPTIONS},
    "env": "env",
    "env_file": "env",
    "label": "labels",
    "network": "nics[].network",
    "ip": "nics[].address",
    "mac_address": "nics[].mac",
}


def spec_options(command: F) -> F:
    """Image and command, and all options that go into a spec."""
    more = [
        click.argument("image", shell_complete=complete_image),
        click.argument("command", nargs=-1, type=click.UNPROCESSED),
        change_options,
    ]
    for decorate in reversed(more):
        command = decorate(command)
    return command


def change_options(command: F) -> F:
    """All of the above, and those that need more than one row's rule."""
    more = [
        click.option("--env", "-e", multiple=True, metavar="KEY[=VALUE]",
                     help="KEY alone takes it from this environment."),
        click.option("--env-file", multiple=True, metavar="FILE",
                     type=click.Path(path_type=Path, dir_okay=False),
                     help="Lines of KEY=VALUE; --env overrides them."),
        click.option("--label", "-l", multiple=True, metavar="KEY[=VALUE]",
                     help="For your own use."),
        click.option("--network", metavar="NAME", multiple=True, callback=_only,
                     help="Network of the node; none for none, host for the node's own. "
                          "Otherwise default."),
        click.option("--ip", metavar="ADDRESS", multiple=True, callback=_only,
                     help="IPv4 address; otherwise the node picks one."),
        click.option("--mac-address", metavar="MAC", multiple=True, callback=_only,
                     help="Otherwise made from its id."),
    ]  # fmt: skip
    for decorate in reversed([*map(_declared, OPTIONS), *more]):
        command = decorate(command)
    return command


def _declared(one: Option) -> Callable[[F], F]:
    if one.is_flag:
        return click.option(*one.flags, one.variable, is_flag=True, help=one.help)
    return click.option(
        *one.flags,
        one.variable,
        type=one.type,
        multiple=True,
        callback=_only if one.gather is None else None,
        help=one.help,
        shell_complete=one.complete,
    )


def _only(context: click.Context, parameter: click.Parameter, values: Sequence[Any]) -> Any:
    """The one value: click by itself would take the last, and say nothing of the others."""
    if any(value != values[0] for value in values):
        raise click.BadParameter("has two values", context, parameter)
    return values[0] if values else None
