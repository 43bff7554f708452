"""Where agents and schedulers meet: exchange, topic, queue names, and oslo.messaging's options.

A node's requests go to the queue `longshore.NODE` on the exchange `longshore`. RabbitMQ keeps
that queue when the agent ends; its messages expire with their caller's deadline.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import oslo_messaging
from oslo_config import cfg

# oslo.messaging reads these two groups from whatever configuration it is given, yet registers
# them on the global one alone and has no public list of them.
from oslo_messaging._metrics.client import oslo_messaging_metrics
from oslo_messaging._tracing.client import oslo_messaging_tracing
from oslo_messaging.opts import list_opts

from longshore.bus import wire
from longshore.errors import InvalidRequest

EXCHANGE = TOPIC = "longshore"
#: A remote error is rebuilt at the caller only if its class is in one of these modules.
ERROR_MODULES = ["longshore.errors"]
_GROUP = "oslo_messaging_rabbit"
#: No wildcards of AMQP topics, no blanks, and with the topic less than AMQP's 255 bytes.
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Bus:
    """An open transport with the address it was made from."""

    transport: Any
    url: Any

    @property
    def rabbit(self) -> Any:
        """The [oslo_messaging_rabbit] options; those in the address's query win."""
        return self.transport.conf.oslo_messaging_rabbit


def register(conf: cfg.ConfigOpts) -> None:
    """Declares on `conf` every oslo.messaging option that the bus reads. Twice is fine."""
    for group, options in list_opts():
        if group in (None, _GROUP):
            conf.register_opts(options, group=group)
    conf.register_opts(oslo_messaging_tracing, group="oslo_messaging_tracing")
    conf.register_opts(oslo_messaging_metrics, group="oslo_messaging_metrics")


def open_bus(conf: cfg.ConfigOpts, url: str | None, rabbit: Mapping[str, float]) -> Bus:
    """A transport; it connects at its first use.

    Args:
        conf: options as the user set them, `register`ed here.
        url: `rabbit://user:password@host:port[,user:password@host:port]/vhost`; None: conf's
            `transport_url`.
        rabbit: our defaults for [oslo_messaging_rabbit]; what the user set wins.

    Raises:
        InvalidRequest: the address is none, or not one of RabbitMQ.
    """
    register(conf)
    for name, value in rabbit.items():
        conf.set_default(name, value, group=_GROUP)
    try:
        address = oslo_messaging.TransportURL.parse(conf, url)
        if address.transport != "rabbit" or not address.hosts:
            raise InvalidRequest(
                "cannot use the transport URL: it must name a RabbitMQ",
                field="transport_url",
                hint="write it as rabbit://user:password@host:5672/",
            )
        transport = oslo_messaging.get_rpc_transport(
            conf, url=address, allowed_remote_exmods=ERROR_MODULES
        )
    except (
        oslo_messaging.InvalidTransportURL,
        oslo_messaging.DriverLoadFailure,
        ValueError,  # a port that is no number
    ) as error:
        raise InvalidRequest(
            f"cannot use the transport URL: {error}", field="transport_url"
        ) from error
    return Bus(transport, address)


def target(node: str, version: str = wire.VERSION) -> Any:
    """The address of one node's agent.

    Raises:
        InvalidRequest: `node` is no node's name.
    """
    if not isinstance(node, str) or not _NODE.fullmatch(node):
        raise InvalidRequest(
            f"cannot address node {node!r}: a name is 1 to 128 of a-z A-Z 0-9 _ . - and begins "
            "with a letter or digit",
            field="node",
        )
    return oslo_messaging.Target(exchange=EXCHANGE, topic=TOPIC, server=node, version=version)


def queue(node: str) -> str:
    """The name of the queue that oslo.messaging makes of `target`."""
    return f"{TOPIC}.{node}"
