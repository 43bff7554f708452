"""The verbs of containers' files, as oslo.messaging calls them: small ones, in one message."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.errors import HostFailed, MessageTooLarge
from longshore.model import copy_messages as asks


class Copies:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def copy_out(self, call: Call) -> JSON:
        asked = wire.decode(asks.CopyOut, call.message)
        status, pieces = self._service.copy_out(
            asked.ref, asked.path, follow_link=asked.follow_link
        )
        tar = bytearray()
        with closing(pieces):
            for piece in pieces:
                tar += piece
                if len(tar) > asks.TAR_MAX:
                    raise MessageTooLarge(
                        f"cannot copy {asked.path} of {asked.ref}: its tar is above "
                        f"{asks.TAR_MAX} bytes",
                        field="path",
                        object=asked.path,
                        hint="copy a smaller part, or on the node itself (`longshore cp`)",
                        details={"limit": asks.TAR_MAX},
                    )
        return wire.encode(asks.Copied(path=status, tar=base64.b64encode(tar).decode()))

    @verb
    def copy_in(self, call: Call) -> JSON:
        asked = wire.decode(asks.CopyIn, call.message)
        content = asked.content
        with _spooled(content, self._service.spool_dir) as tar:
            entries = self._service.copy_in(
                asked.request_id,
                asked.ref,
                asked.path,
                tar,
                archive=asked.archive,
                replace=asked.replace,
            )
        return wire.encode(asks.Unpacked(entries=entries, bytes=len(content)))

    @verb
    def diff(self, call: Call) -> JSON:
        asked = wire.decode(asks.Diff, call.message)
        return wire.encode(self._service.diff(asked.ref))


@contextmanager
def _spooled(content: bytes, folder: Path) -> Iterator[Path]:
    """In a file without a name: it goes with its descriptor, also when the agent is killed."""
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(tempfile.TemporaryFile(dir=folder))
            file.write(content)
            file.flush()
        except OSError as error:
            raise HostFailed(f"cannot write in {folder}: {error.strerror}") from error
        yield Path(f"/proc/self/fd/{file.fileno()}")
