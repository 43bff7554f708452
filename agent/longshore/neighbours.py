"""The host as the agent finds it at its start: half of the wiring.

What containerd and the kernel are and can do is asked once; all that lifecycle/ is given of the
host comes from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from longshore import __version__
from longshore import config as configuration
from longshore.config import Config
from longshore.host import capacity, log_cut
from longshore.host import node as node_facts
from longshore.host.cgroup import Cgroups
from longshore.host.containerd import introspect
from longshore.host.containerd import node as oci_node
from longshore.host.containerd.asked import Asked, look_up
from longshore.host.containerd.client import Client
from longshore.host.containerd.consoles import Consoles
from longshore.host.containerd.differing import Differing
from longshore.host.containerd.execs import Execs
from longshore.host.containerd.images import Images
from longshore.host.containerd.leases import abandon_loads
from longshore.host.containerd.oci import check_capabilities, oci_spec
from longshore.host.containerd.oci_limits import check_rlimits
from longshore.host.containerd.oci_security import check_domain
from longshore.host.containerd.oci_userns import check_remount
from longshore.host.containerd.records import ContainerRecords
from longshore.host.containerd.runtime import FASTEST_FIRST, choose_runtime, systemd_is_init
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.containerd.tasks import Tasks
from longshore.host.copies import Copies
from longshore.host.data import Data
from longshore.host.disks import Disks
from longshore.host.files import Files
from longshore.host.glance import settings as glance
from longshore.host.glance.later import later
from longshore.host.init import Init
from longshore.host.lacks import cannot
from longshore.host.limit_support import Ground, check_limits
from longshore.host.named import NamedVolumes
from longshore.host.network import Network
from longshore.host.probes import Probes
from longshore.host.processes import Processes
from longshore.host.registry.registries import Registries
from longshore.host.secrets import Secrets
from longshore.host.sources import Source, Sources
from longshore.host.stats import Usage
from longshore.host.userns import UserNamespaces
from longshore.host.views import Views
from longshore.host.volumes import Volumes
from longshore.lifecycle.node import Identity
from longshore.lifecycle.ports import Host, ImageSources
from longshore.lifecycle.ports.stats import Meters
from longshore.model.addressing import NetworkConfig
from longshore.model.capacity import DISK, LOGS, SECRETS, Stock
from longshore.model.current import Current
from longshore.model.flavors import Flavors
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.node import Space
from longshore.model.policy import Ceiling, check, check_privileged
from longshore.model.spec import ContainerSpec
from longshore.model.status import Cannot
from longshore.settings import Settings, settings


@dataclass(frozen=True)
class Neighbourhood:
    """The host as it was found at start, and what it lets containers have.

    Attributes:
        privileged: raises PolicyForbids if nothing in that container may be privileged.
        beside: what each container takes of the stock beside its limits: room for its log.
        apply: from now on requests are judged by these.
        interrupt: ends what takes long in it; the agent is about to stop.
    """

    host: Host
    meters: Meters
    execs: Execs
    consoles: Consoles
    copies: Copies
    probes: Probes
    network: NetworkConfig
    identity: Identity
    apply: Callable[[Settings], None]
    flavors: Callable[[], Flavors]
    stock: Callable[[], Sequence[Stock]]
    containerd_version: str
    sources: ImageSources
    image_space: Callable[[], Space]
    policy: Callable[[ContainerSpec], None]
    privileged: Callable[[str], None]
    findings: Callable[[], Sequence[str]]
    beside: Mapping[str, float]
    interrupt: Callable[[], None]
    close: Callable[[], None]


def meet(config: Config, layout: Layout, client: Client) -> Neighbourhood:
    """Asks containerd and the kernel what they are and can do.

    Raises:
        HostUnavailable: one of them is not there, or lacks what no container runs without.
    """
    version = introspect.version(client)
    introspect.ensure_namespace(client)
    abandon_loads(client)
    wanted = config.containerd.snapshotter
    snapshotter = introspect.choose_snapshotter(
        introspect.plugins(client), None if wanted == "auto" else wanted
    )
    runtime = choose_runtime(
        client,
        systemd_cgroup=systemd_is_init(),
        binaries=FASTEST_FIRST
        if config.containerd.runtime == "auto"
        else (config.containerd.runtime,),
        cgroup_parent=config.cgroup.parent,
    )
    containerd = introspect.pid(client)
    node = oci_node.detect(runtime, config.cgroup.parent, containerd)
    facts = node_facts.facts(config.state_dir)
    cgroups = Cgroups(Path(config.cgroup.root), parent=config.cgroup.parent)
    net = NetworkConfig(
        config.network.name,
        config.network.bridge,
        config.subnet,
        config.gateway,
        config.network.mtu,
    )
    network = Network(layout, [net], config.network.table)
    rootfs = Rootfs(client, snapshotter.name, snapshotter.root)
    files = Files(layout, nameservers=config.network.nameservers, folders=rootfs.folders)
    secrets = Secrets(layout, Path(config.secrets.folder), config.secrets.size)
    registries = Registries(
        Path(config.images.registries),
        layers=config.images.layers,
        stall=config.images.stall,
        pull_timeout=config.images.pull_timeout,
    )

    def image_space() -> Space:
        return node_facts.disk(snapshotter.root or config.state_dir)

    images = Images(
        client,
        snapshotter.name,
        spool=layout.spool,
        user_namespaces=layout.user_namespaces,
        archive_max=config.images.archive_max,
        timeout=config.images.pull_timeout,
        room=lambda: image_space().free,
    )

    probes = Probes(layout)

    def interrupt() -> None:
        images.stop()
        probes.stop()

    def close() -> None:
        registries.stop()
        network.close()

    users = UserNamespaces(layout, client, snapshotter.name, snapshotter.root or config.state_dir)
    init = Init(config.containers.init)
    current = Current(settings(config))
    volumes = Volumes(layout, lambda: current().roots, config.volumes.deadline)

    def asked(spec: ContainerSpec, names: Names) -> Asked:
        return replace(look_up(spec, init), flags=volumes.flags(names))

    host = Host(
        layout=layout,
        images=images,
        rootfs=rootfs,
        records=ContainerRecords(client, snapshotter.name, runtime),
        tasks=Tasks(client, snapshotter.name, runtime.bundles, cgroups.processes, layout),
        network=network,
        volumes=volumes,
        named=NamedVolumes(layout, rootfs.folders),
        data=Data(layout, rootfs.folders),
        disks=Disks(rootfs, snapshotter.name, snapshotter.root or config.state_dir),
        secrets=secrets,
        users=users,
        files=files,
        cgroups=cgroups,
        oci=lambda spec, names, image, user, ids: oci_spec(
            spec, names, image, user, layout, node, ids, asked(spec, names)
        ),
    )
    copies = Copies(
        Views(layout, rootfs, volumes, lambda names: host.tasks.get(names).pid),
        Differing(client, rootfs, snapshotter.name, snapshotter.root),
    )
    ceiling = Ceiling(facts.cpus, frozenset({net.name}))

    by_limits = capacity.stock(
        facts,
        snapshotter.root or config.state_dir,
        capacity.Above(Path(config.cgroup.root), config.cgroup.parent),
        lambda: current().shares,
    )
    on_one_disk = node_facts.on_one_disk(config.state_dir, snapshotter.root or config.state_dir)

    def log_room() -> Sequence[Stock]:
        if on_one_disk:
            return ()
        return (Stock(LOGS, "bytes", node_facts.disk(config.state_dir).total),)

    ground = Ground(cgroups, node.oom_score_min)

    def policy(spec: ContainerSpec) -> None:
        check(spec, ceiling, current().rules)
        check_rlimits(spec, node)
        check_limits(spec, ground)
        check_capabilities(spec, node.capabilities)
        check_domain(spec, node)
        check_remount(spec, runtime.name)
        look_up(spec, init)

    return Neighbourhood(
        host,
        Meters(Usage(Path(config.cgroup.root)), Processes(cgroups.processes), rootfs),
        Execs(client, layout, rootfs, node.capabilities),
        Consoles(client, layout),
        copies,
        probes,
        net,
        Identity(
            name=config.node_name,
            version=__version__,
            boot_id=facts.boot_id,
            kernel=facts.kernel,
            started_at=time.time(),
            runtime=runtime.name,
            runtime_why=runtime.why,
            cgroup_mode=cgroups.mode(),
            snapshotter=snapshotter.name,
            snapshotter_why=snapshotter.why,
            cannot=(
                *cannot(
                    snapshotter.root or config.state_dir,
                    cgroups,
                    containerd,
                    snapshotter=snapshotter.name,
                ),
                *users.cannot(),
                *_logs(layout),
                *(Cannot(feature="init", why=why) for why in [init.lack()] if why),
            ),
        ),
        current.replace,
        lambda: current().flavors,
        lambda: [*by_limits(), Stock(SECRETS, "bytes", config.secrets.size), *log_room()],
        version,
        Sources(registries, _glance(config, layout)),
        image_space,
        policy,
        privileged=lambda name: check_privileged(name, current().rules),
        findings=lambda: [
            *configuration.findings(config),
            *network.findings(),
            *files.findings(),
            *secrets.findings(),
            *(volumes.findings() if current().rules.require_user_namespace else ()),
            *registries.findings(),
        ],
        beside={DISK if on_one_disk else LOGS: config.logs.max_size},
        interrupt=interrupt,
        close=close,
    )


def _logs(layout: Layout) -> Iterator[Cannot]:
    if why := log_cut.why_not(layout.containers):
        feature = "keeping a log short"
        yield Cannot(feature=feature, why=f"{why}: one that is too large is emptied")


def _glance(config: Config, layout: Layout) -> Callable[[], Source] | None:
    """None where none is configured."""
    settings = glance.settings(config.glance)
    images = config.images
    bounds = glance.Bounds(images.archive_max, images.stall, images.pull_timeout)
    return later(settings, bounds, layout.spool) if settings else None
