"""Every option of the agent, declared once.

From the one declaration come the parser of the file (oslo.config's INI), the environment
(`OS_<GROUP>__<OPTION>`, oslo.config's own convention), the sample file and the table in the
README.
"""

from __future__ import annotations

from oslo_config import cfg, types

from longshore.capacity_options import CAPACITY, Size
from longshore.model.idranges import COUNT, FIRST, SIZE
from longshore.model.names import NFT_TABLE
from longshore.policy_options import POLICY

_NAME = types.String(regex=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$")
_INTERFACE = types.String(regex=r"^[a-zA-Z0-9_.-]{1,15}$")
#: What nft takes without quotes.
_TABLE = types.String(regex=rf"^{NFT_TABLE}$")
_WORD = types.String(regex=r"^[a-z][a-z0-9_-]{0,31}$")
#: No dash: to systemd `a-b.slice` lies inside `a.slice`.
_SLICE = types.String(regex=r"^[a-z][a-z0-9_]{0,31}$")

OPTIONS: dict[str, list[cfg.Opt]] = {
    "DEFAULT": [
        cfg.Opt(
            "node_name",
            type=_NAME,
            default=None,
            sample_default="the host's name",
            help="Under which name the scheduler addresses this node.",
        ),
        cfg.StrOpt(
            "state_dir",
            default="/var/lib/longshore",
            help="Journal, logs and /etc files of the containers. Survives a reboot.",
        ),
        cfg.StrOpt(
            "run_dir",
            default="/run/longshore",
            help="Network namespaces and mount points. Gone after a reboot.",
        ),
    ],
    "containerd": [
        cfg.StrOpt(
            "socket",
            default="/run/containerd/containerd.sock",
            help="containerd's gRPC socket.",
        ),
        cfg.Opt(
            "namespace",
            type=_WORD,
            default="longshore",
            help="containerd namespace that belongs to this agent alone.",
        ),
        cfg.StrOpt(
            "runtime",
            default="auto",
            choices=["auto", "crun", "runc"],
            help="OCI runtime. auto: the fastest that works on this node.",
        ),
        cfg.StrOpt(
            "snapshotter",
            default="auto",
            help="containerd snapshotter. auto: overlayfs where it works, else native.",
        ),
        cfg.FloatOpt(
            "timeout",
            default=30.0,
            min=0.1,
            help="Seconds that one call to containerd may take.",
        ),
    ],
    "network": [
        cfg.Opt("name", type=_NAME, default="default", help="Name that a nic asks for it by."),
        cfg.Opt("bridge", type=_INTERFACE, default="longshore0", help="Bridge of the node."),
        cfg.Opt(
            "subnet",
            type=types.String(),
            default="10.89.0.0/16",
            help="IPv4 subnet of the bridge; containers get their addresses from it.",
        ),
        cfg.Opt(
            "gateway",
            type=types.String(),
            default=None,
            sample_default="the first address of the subnet",
            help="Address of the bridge.",
        ),
        cfg.IntOpt(
            "mtu",
            default=None,
            min=576,
            max=65535,
            sample_default="the uplink's",
            help="MTU of the bridge and of the containers' interfaces.",
        ),
        cfg.Opt("table", type=_TABLE, default="longshore", help="nft table of this agent."),
        cfg.IntOpt("port_min", default=40000, min=1, max=65535, help="First automatic host port."),
        cfg.IntOpt("port_max", default=49151, min=1, max=65535, help="Last automatic host port."),
        cfg.ListOpt(
            "nameservers",
            default=[],
            help="Resolvers of the containers; empty: the node's, without those on loopback.",
        ),
    ],
    "cgroup": [
        cfg.StrOpt("root", default="/sys/fs/cgroup", help="Where cgroups are mounted."),
        cfg.Opt(
            "parent",
            type=_SLICE,
            default="longshore",
            help="Parent of all containers' cgroups; with systemd the slice of that name.",
        ),
    ],
    "volumes": [
        cfg.ListOpt(
            "roots",
            default=["/srv"],
            mutable=True,
            help="Bind sources must lie beneath one of these folders of the node. Mount them "
            "nosuid: root of a container, also in a user namespace, can leave programs there that "
            "are setuid root.",
        ),
        cfg.FloatOpt(
            "deadline",
            default=10.0,
            min=0.1,
            help="Seconds that the file system of a bind source may take to answer.",
        ),
    ],
    "secrets": [
        cfg.StrOpt(
            "folder",
            default="/etc/longshore/secrets",
            help="Files that a container may get as a secret by their name; need not be there.",
        ),
        cfg.Opt(
            "size",
            type=Size(min=2**16),
            default=64 * 2**20,
            help="Memory, in bytes, that the secrets of all containers together may take, stopped "
            "ones too; one that is a file of the node counts as 64 KiB.",
        ),
    ],
    "images": [
        cfg.ListOpt(
            "archive_roots",
            default=["/var/lib/longshore/images"],
            help="Where archives may lie that the bus asks to load.",
        ),
        cfg.Opt(
            "archive_max",
            type=Size(min=2**20),
            default=16 * 2**30,
            help="Largest archive, in bytes, also once it is decompressed.",
        ),
        cfg.StrOpt(
            "registries",
            default="/etc/longshore/registries.toml",
            help="Settings and credentials of registries; a file that need not be there.",
        ),
        cfg.IntOpt("pulls", default=3, min=1, help="Images pulled at once."),
        cfg.IntOpt("layers", default=4, min=1, help="Layers of one image fetched at once."),
        cfg.FloatOpt(
            "stall",
            default=30.0,
            min=0.1,
            help="Seconds that a registry or Glance may take to send anything.",
        ),
        cfg.FloatOpt(
            "pull_timeout", default=3600.0, min=1.0, help="Seconds that one transfer may take."
        ),
        cfg.IntOpt(
            "high_watermark",
            default=85,
            min=1,
            max=100,
            help="Percent of containerd's disk in use above which unused images are removed.",
        ),
        cfg.IntOpt(
            "low_watermark",
            default=75,
            min=0,
            max=99,
            help="Percent of containerd's disk in use at which that ends.",
        ),
        cfg.FloatOpt(
            "min_age",
            default=3600.0,
            min=0.0,
            help="Seconds for which an image is kept after it came, or was last used.",
        ),
    ],
    "logs": [
        cfg.Opt(
            "max_size",
            type=Size(min=2**20),
            default=64 * 2**20,
            help="Bytes of disk that what one container wrote may have, stdout and stderr together "
            "with their time index; the oldest lines are given up above it.",
        ),
    ],
    "glance": [
        cfg.StrOpt(
            "auth_url",
            default=None,
            sample_default="none: this node has no Glance",
            help="Keystone's address, such as https://keystone.example.org:5000/v3.",
        ),
        cfg.StrOpt(
            "username",
            default=None,
            sample_default="none: an application credential is used",
            help="Keystone user of this node; needs the reader role, to push the member role.",
        ),
        cfg.StrOpt(
            "password", default=None, sample_default="none", secret=True, help="Its password."
        ),
        cfg.StrOpt("user_domain_name", default="Default", help="Its domain."),
        cfg.StrOpt(
            "project_name",
            default="service",
            help="Its project; an application credential has its own.",
        ),
        cfg.StrOpt("project_domain_name", default="Default", help="The project's domain."),
        cfg.StrOpt(
            "application_credential_id",
            default=None,
            sample_default="none: username and password are used",
            help="Keystone application credential of this node.",
        ),
        cfg.StrOpt(
            "application_credential_secret",
            default=None,
            sample_default="none",
            secret=True,
            help="Its secret.",
        ),
        cfg.StrOpt(
            "cafile",
            default=None,
            sample_default="the node's trusted authorities",
            help="Authorities (PEM) that Keystone's and Glance's certificates are checked against.",
        ),
        cfg.StrOpt(
            "region_name",
            default=None,
            sample_default="any",
            help="Region whose Glance of Keystone's catalogue is used.",
        ),
        cfg.ListOpt(
            "valid_interfaces",
            item_type=types.String(choices=["internal", "public", "admin"]),
            default=["internal", "public"],
            help="Which of Glance's endpoints in the catalogue is used: the first that is there.",
        ),
        cfg.StrOpt(
            "endpoint_override",
            default=None,
            sample_default="what the catalogue says",
            help="Glance's address, such as https://glance.example.org:9292.",
        ),
        cfg.FloatOpt(
            "timeout",
            default=5.0,
            min=0.1,
            help="Seconds that Keystone or Glance may take to answer a question.",
        ),
    ],
    **POLICY,
    **CAPACITY,
    "userns": [
        cfg.IntOpt(
            "first",
            default=FIRST,
            min=SIZE,
            max=2**32 - 2,
            help="First of the node's user and group numbers for containers with a user namespace.",
        ),
        cfg.IntOpt(
            "count",
            default=COUNT,
            min=1,
            max=SIZE,
            help=f"How many ranges of {SIZE} numbers; each such container has one to itself.",
        ),
    ],
    "health": [
        cfg.IntOpt(
            "workers",
            default=8,
            min=1,
            help="Probes at once; as many again of those that run a command, or failed, or were "
            "slow the last time.",
        ),
        cfg.FloatOpt(
            "exec_rate",
            default=10.0,
            min=0.1,
            help="Probes that run a command in a container, each second at most.",
        ),
    ],
    "bus": [
        cfg.BoolOpt(
            "enabled",
            default=True,
            help="Whether to serve the message queue that transport_url names.",
        ),
        cfg.IntOpt(
            "workers",
            default=16,
            min=2,
            help="Creates and starts at work at once; other verbs have threads of their own.",
        ),
        cfg.IntOpt(
            "max_message", default=2**20, min=2**10, help="Largest request, in bytes of JSON."
        ),
    ],
    "local": [
        cfg.StrOpt("socket", default="/run/longshore/agent.sock", help="Socket of the local API."),
        cfg.StrOpt("group", default="longshore", help="Whose members may use the local API."),
        cfg.IntOpt(
            "workers",
            default=16,
            min=2,
            help="Changes at work at once; deletes, reads and streams have threads of their own.",
        ),
        cfg.IntOpt("streams", default=32, min=1, help="Watches and followed logs at once."),
    ],
    "converge": [
        cfg.IntOpt(
            "workers", default=8, min=1, help="Containers settled at once in the background."
        ),
        cfg.FloatOpt(
            "interval", default=30.0, min=0.1, help="Seconds between two looks at everything."
        ),
        cfg.FloatOpt(
            "retention",
            default=86400.0,
            min=60.0,
            help="Seconds that answers to requests, and failed creates, are remembered.",
        ),
        cfg.FloatOpt(
            "stop_timeout",
            default=30.0,
            min=1.0,
            help="Seconds that the agent's own stop waits for what is under way.",
        ),
    ],
    "restart": [
        cfg.FloatOpt(
            "first",
            default=0.5,
            min=0.01,
            help="Seconds before a container whose policy restarts it is started again.",
        ),
        cfg.FloatOpt(
            "factor",
            default=2.0,
            min=1.0,
            help="By which each such pause is longer than the one before.",
        ),
        cfg.FloatOpt(
            "max",
            default=60.0,
            min=0.01,
            help="Seconds of the longest pause, whatever [restart] factor.",
        ),
        cfg.FloatOpt(
            "reset",
            default=10.0,
            min=0.0,
            help="Seconds that a run has to last for the next pause to be the first again.",
        ),
        cfg.FloatOpt(
            "rate",
            default=5.0,
            min=0.1,
            help="Such starts on this node in a second, so that verbs find it at leisure.",
        ),
    ],
    "update": [
        cfg.FloatOpt(
            "probation",
            default=2.0,
            min=0.0,
            help="Seconds that a container without a health check has to run with a new "
            "configuration before that counts; until then one that ends has the former taken back.",
        ),
    ],
}
