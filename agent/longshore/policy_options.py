"""Options of what requests may ask for on this node; see options.py. Rules: model/policy.py."""

from __future__ import annotations

from oslo_config import cfg, types

from longshore.model.init import INITS
from longshore.model.linux import CAPABILITIES

#: What a container's namespaces and its memory limit hold in: its own interfaces, memory that it
#: may have anyway, its own processes. Without a user namespace some of the other ones are root on
#: the node (SYS_ADMIN, SYS_MODULE, DAC_READ_SEARCH), and some take from its neighbours (SYS_NICE:
#: real-time threads; SYS_RESOURCE: any limit; SYS_TIME: the one clock).
_CAPABILITIES = ("NET_ADMIN", "IPC_LOCK", "SYS_PTRACE")

#: What a container may tune of its own namespaces and take nothing from its neighbours with:
#: Kubernetes' 'safe' ones, and the length of its own queue of connections.
_SYSCTLS = (
    "kernel.domainname",
    "kernel.shm_rmid_forced",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
)

POLICY: dict[str, list[cfg.Opt]] = {
    "containers": [
        cfg.StrOpt(
            "init",
            default="auto",
            help="Static program that runs as first process where a request asks for init. auto: "
            "the first that is there of " + ", ".join(INITS) + ".",
        ),
    ],
    "policy": [
        cfg.BoolOpt(
            "allow_privileged",
            default=False,
            mutable=True,
            help="Whether containers may run privileged, which is root on the node.",
        ),
        cfg.BoolOpt(
            "allow_host_network",
            default=False,
            mutable=True,
            help="Whether containers may use the node's own network: they reach what listens on "
            "its loopback, and with the default NET_RAW they see its traffic.",
        ),
        cfg.BoolOpt(
            "require_user_namespace",
            default=False,
            mutable=True,
            help="Whether only containers with a user namespace are taken.",
        ),
        cfg.ListOpt(
            "allowed_capabilities",
            item_type=types.String(choices=["ALL", *CAPABILITIES]),
            default=list(_CAPABILITIES),
            mutable=True,
            help="What cap_add may name beside the default capabilities; ALL: each of them.",
        ),
        cfg.ListOpt(
            "allowed_devices",
            item_type=types.String(regex=r"^/[^:,]*(:r?w?m?)?$"),
            default=[],
            mutable=True,
            help="Devices of the node that may be asked for, with the access: /dev/fuse:rw. A "
            "pattern's * stays within its folder, and a folder stands for all that is in it.",
        ),
        cfg.ListOpt(
            "allowed_sysctls",
            item_type=types.String(regex=r"^[a-zA-Z0-9_.*-]+$"),
            default=list(_SYSCTLS),
            mutable=True,
            help="Namespaced sysctls that may be asked for; * stands for anything.",
        ),
        cfg.ListOpt(
            "allowed_annotations",
            item_type=types.String(regex=r"^[^,]+$"),
            default=[],
            mutable=True,
            help="Annotations that may be asked for though they are orders to a runtime, a shim, "
            "systemd or CRIU; * stands for anything. All others always may.",
        ),
    ],
}
