"""Netlink by request and answer, every exchange with a deadline.

pyroute2 states the messages (their fields, attributes and encoding); the exchange is ours,
because its sockets wait for ever, keep an event loop and a descriptor for each thread that
ever used them, and send one message at a time. Here a batch is one sendmsg, the kernel works
through it in order, and closing the socket leaves nothing.

A `Netlink` belongs to the thread that opened it. Opening one costs about 10 µs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from pyroute2.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
)

from longshore.errors import (
    DeadlineExceeded,
    HostBusy,
    HostFailed,
    HostUnavailable,
    LongshoreError,
)

#: Seconds for one batch. The kernel answers from within sendmsg; what can take long is the
#: lock that all network changes of the host share.
DEADLINE = 10.0

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
CREATE = NLM_F_CREATE | NLM_F_EXCL
CHANGE = 0
REPLACE = NLM_F_CREATE | NLM_F_REPLACE
DUMP = NLM_F_DUMP

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_ERROR, _DONE = 2, 3
_ACK_TLVS, _CAPPED = 0x200, 0x100
_ERROR_MSG = 1
_SIOCGIFMTU = 0x8921
_SIOCGIFINDEX = 0x8933
_HEADER = struct.Struct("=IHHII")

#: What pyroute2 calls a message: `nlmsg`, a dict with `encode`.
Message = Any


def message(kind: type[Any], number: int, how: int = CHANGE, **fields: Any) -> Message:
    """A request of class `kind` (`ifinfmsg`, `rtmsg`…) and number (RTM_NEWLINK…).

    Args:
        how: CREATE (fail if it is there), REPLACE (make or change), CHANGE, DUMP.
        fields: of the message's fixed part; `attrs` is a list of (name, value) pairs.
    """
    made = kind()
    for name, value in fields.items():
        made[name] = value
    made["header"]["type"] = number
    made["header"]["flags"] = NLM_F_REQUEST | how | (0 if how == DUMP else NLM_F_ACK)
    return made


class Netlink:
    """One socket, in the network namespace of the thread that made it."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.settimeout(DEADLINE)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def request(self, *messages: Message) -> None:
        """Sends all in one go; the kernel does them in order and does not stop at a failure.

        Raises:
            OSError: the first refusal, with the kernel's own words where it gave any.
            TimeoutError: not all were answered in time; what was done is unknown.
        """
        first = self._send(messages)
        waiting = set(range(first, first + len(messages)))
        refusals: dict[int, OSError] = {}
        while waiting:
            for sequence, kind, flags, body in _parts(self._socket.recv(65536)):
                if sequence in waiting and kind == _ERROR:
                    waiting.discard(sequence)
                    if refusal := _refusal(flags, body):
                        refusals[sequence] = refusal
        if refusals:
            raise refusals[min(refusals)]

    def ask(self, query: Message) -> list[Any]:
        """What the kernel answers to a query, as decoded messages of the query's own class."""
        sequence = self._send([query])
        answers: list[Any] = []
        while True:
            for number, kind, flags, body in _parts(self._socket.recv(262144)):
                if number != sequence:
                    continue
                if kind == _DONE:
                    return answers
                if kind == _ERROR:
                    if refusal := _refusal(flags, body):
                        raise refusal
                    return answers
                answer = type(query)(
                    _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body
                )
                answer.decode()
                answers.append(answer)

    def index(self, interface: str) -> int | None:
        """The interface's index in the socket's namespace, None if there is none of that name."""
        return self._ioctl(_SIOCGIFINDEX, interface)

    def mtu(self, interface: str) -> int | None:
        return self._ioctl(_SIOCGIFMTU, interface)

    def _ioctl(self, number: int, interface: str) -> int | None:
        try:
            answer = fcntl.ioctl(self._socket, number, struct.pack("16s24x", interface.encode()))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return int(struct.unpack_from("=i", answer, 16)[0])

    def _send(self, messages: Sequence[Message]) -> int:
        first = self._sequence + 1
        data = bytearray()
        for self._sequence, one in enumerate(messages, first):
            one["header"]["sequence_number"] = self._sequence
            one.encode()
            data += one.data
            data += bytes(-len(data) % 4)
        self._socket.send(data)
        return first


def _parts(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Sequence number, type, flags and body of each message in one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        yield sequence, kind, flags, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _refusal(flags: int, body: bytes) -> OSError | None:
    (number,) = struct.unpack_from("=i", body)
    if not number:
        return None
    words = os.strerror(-number)
    if flags & _ACK_TLVS:
        # The failed request's header follows the number; its body only where it is not capped.
        (length,) = struct.unpack_from("=I", body, 4)
        words = _told(body[4 + (16 if flags & _CAPPED else (length + 3) & ~3) :]) or words
    return OSError(-number, words)


def _told(attributes: bytes) -> str:
    offset = 0
    while offset + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if kind == _ERROR_MSG:
            return attributes[offset + 4 : offset + length].rstrip(b"\0").decode("utf-8", "replace")
        offset += (max(length, 4) + 3) & ~3
    return ""


_KINDS: dict[int, tuple[type[LongshoreError], str | None]] = {
    errno.EBUSY: (HostBusy, None),
    errno.EPERM: (HostUnavailable, "the agent needs CAP_NET_ADMIN and CAP_SYS_ADMIN"),
    errno.EACCES: (HostUnavailable, "the agent needs CAP_NET_ADMIN and CAP_SYS_ADMIN"),
    errno.EOPNOTSUPP: (HostUnavailable, "the kernel lacks a feature that containers need"),
    errno.EAFNOSUPPORT: (HostUnavailable, "the kernel lacks a feature that containers need"),
}


@contextmanager
def translated(action: str, object: str | None = None) -> Iterator[None]:
    """Turns the kernel's OSError into 'cannot `action`: why'."""
    try:
        yield
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"cannot {action}: no answer from the kernel within {DEADLINE:g} s", object=object
        ) from error
    except OSError as error:
        kind, hint = _KINDS.get(error.errno or 0, (HostFailed, None))
        raise kind(
            f"cannot {action}: {error.strerror or error}", object=object, hint=hint
        ) from error
