"""One AMQP connection of our own, to know whether the broker answers.

oslo.messaging connects without a deadline and keeps its connections to itself. So it is asked
to connect only when this connection has just succeeded, and the broker's state is read here.
"""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import kombu
import kombu.exceptions

from longshore.bus.transport import Bus
from longshore.errors import BrokerUnavailable

#: Seconds for connecting, and for each answer.
_PATIENCE = 5.0


class Link:
    """Not thread-safe, but for `interrupt`."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._name = name
        # A copy: oslo.messaging shuffles the list that it was given.
        self._hosts = itertools.cycle(list(bus.url.hosts))
        self._connection: Any = None
        self._socket: socket.socket | None = None

    def open(self) -> str:
        """Connects to the next of the brokers and returns its version.

        Raises:
            BrokerUnavailable
        """
        self.close()
        host, rabbit = next(self._hosts), self._bus.rabbit
        self._connection = kombu.Connection(
            hostname=host.hostname or "localhost",
            port=host.port or 5672,
            userid=host.username or "guest",
            password=host.password or "guest",
            virtual_host=self._bus.url.virtual_host or "/",
            ssl=_tls(rabbit),
            login_method=rabbit.rabbit_login_method,
            connect_timeout=_PATIENCE,
            transport_options={"client_properties": {"connection_name": self._name}},
        )
        with self._translated():
            # connect() would try twice, and sleep two seconds in between.
            self._connection.ensure_connection(max_retries=0)
            wire = self._connection.connection
            self._socket = wire.sock
            # Otherwise an answer to what is asked over it later is waited for without end.
            wire.sock.settimeout(_PATIENCE)
            version = wire.server_properties.get("version", "")
        return str(version)

    def consumers(self, queue: str) -> int:
        """How many listen on the queue; 0 also where it does not exist.

        Raises:
            BrokerUnavailable
        """
        count = 0
        with self._translated():
            channel = self._connection.channel()
            with suppress(*self._connection.channel_errors):
                count = channel.queue_declare(queue, passive=True).consumer_count
            self._connection.maybe_close_channel(channel)
        return count

    def watch(self, seconds: float) -> None:
        """Returns after `seconds`, or raises BrokerUnavailable as soon as the connection ends."""
        with self._translated(), suppress(TimeoutError):
            self._connection.drain_events(timeout=seconds)

    def interrupt(self) -> None:
        """Makes `watch` end at once, from another thread."""
        if (wire := self._socket) is not None:
            with suppress(OSError):  # it has ended already
                # Not the method of an SSLSocket, which drops TLS under the hands of `watch`.
                socket.socket.shutdown(wire, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closing a closed one is fine."""
        connection, self._connection = self._connection, None
        self._socket = None
        if connection is not None:
            with suppress(*connection.connection_errors):
                connection.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        connection = self._connection
        errors = (*connection.connection_errors, *connection.channel_errors)
        try:
            yield
        except (*errors, kombu.exceptions.OperationalError) as error:
            where = f"{connection.hostname}:{connection.port}"
            raise BrokerUnavailable(
                f"cannot reach RabbitMQ at {where}: {error or type(error).__name__}", object=where
            ) from error


def _tls(rabbit: Any) -> dict[str, Any] | bool:
    """The same TLS as oslo.messaging's own connections."""
    if not rabbit.ssl:
        return False
    options: dict[str, Any] = {}
    if rabbit.ssl_key_file:
        options["keyfile"] = rabbit.ssl_key_file
    if rabbit.ssl_cert_file:
        options["certfile"] = rabbit.ssl_cert_file
    if rabbit.ssl_ca_file:
        # server_hostname None: the name of the broker that is connected to.
        options |= {
            "ca_certs": rabbit.ssl_ca_file,
            "cert_reqs": ssl.CERT_REQUIRED,
            "server_hostname": None,
        }
    return options or True
