"""A container's own process, attached to across restarts of the agent.

The process, its terminal and its input are the shim's, and what it writes is in its log: an agent
that goes takes nothing along. So whoever is attached waits for the next one, and goes on where the
output broke off.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from longshore.errors import AgentBusy, ContainerNotFound, Interrupted, LongshoreError
from longshore.local.calls import Calls, is_gone
from longshore.local.patience import RETURN, Patience, pause
from longshore.local.streams import Stream
from longshore.pb.longshore.v1 import agent_pb2


class Attachment(Stream):
    """`cut`: it ended while no agent was there, and is removed: the end of its output is missing.

    Of its output nothing is lost or doubled. Input waits meanwhile. What was on its way when the
    agent died may or may not have come: on a terminal it is given up, as a key that was not heard;
    else going on would falsify what the process reads, so that ends with an error.

    Args:
        start: AttachStart.
        ended: the exit code of the container of that id, which is gone; None: not known.
    """

    def __init__(
        self,
        calls: Calls,
        what: str,
        start: Any,
        by: float,
        *,
        ended: Callable[[str], int | None],
    ) -> None:
        self.cut = False
        self._start = start
        self._tty = False
        self._ended = ended
        #: What this call has sent and the agent has not told of, and how much it has told of.
        self._flying: deque[bytes] = deque()
        self._taken = 0
        self._has_position = self._is_input_over = False
        super().__init__(calls, "Attach", what, agent_pb2.AttachInput, start, by)

    def resize(self, rows: int, columns: int) -> None:
        self._start.size.CopyFrom(agent_pb2.TerminalSize(rows=rows, columns=columns))
        super().resize(rows, columns)

    def _heard(self, reply: Any) -> None:
        if reply.HasField("id"):
            # A name may be another's by then.
            self._start.ref, self._tty = reply.id, reply.tty
        if reply.HasField("position"):
            self._has_position = True
            self._start.after.CopyFrom(reply.position)
        with self._change:
            taken = reply.taken - self._taken
            self._taken = max(self._taken, reply.taken)
            while taken > 0 and self._flying:
                first = self._flying.popleft()
                if len(first) > taken:
                    self._flying.appendleft(first[taken:])
                taken -= len(first)

    def _passed(self, sent: Any) -> None:
        with self._change:
            if sent.HasField("stdin"):
                self._flying.append(sent.stdin)
            self._is_input_over |= sent.stdin_end

    def _goes_on(self, error: LongshoreError) -> bool:
        # An older agent does not say where it is.
        if not self._has_position or not is_gone(error):
            return False
        first = self._left_over(error)
        patience = Patience(math.inf, RETURN)
        while patience.grants(error, gone=True) and not self._over and not self._calls.closed:
            self._calls.renew()
            try:
                self._begun(self._kind(start=self._start), *first)
            except ContainerNotFound as gone:
                return self._gone(gone)
            except LongshoreError as again:
                if not is_gone(again) and not isinstance(again, AgentBusy):
                    raise
            else:
                return True
            pause()
        return self._over

    def _left_over(self, error: LongshoreError) -> list[Any]:
        """What the next call begins with: the input that this one did not hand on."""
        with self._change:
            self._number += 1  # it takes nothing any more
            self._change.notify_all()
            flying, self._flying, self._taken = list(self._flying), deque(), 0
            ended, self._is_input_over = self._is_input_over, False
        # One that stops says how far it came, as its last word.
        if flying and not isinstance(error, Interrupted):
            if not self._tty:
                raise LongshoreError(
                    f"cannot {self._what} any more: the agent died, and it is not known whether "
                    f"{sum(map(len, flying))} bytes of input have come",
                    hint="the container goes on; see what it has read, or begin anew",
                ) from error
            flying = []
        return [
            *(self._kind(stdin=one) for one in flying),
            *([self._kind(stdin_end=True)] if ended else []),
        ]

    def _gone(self, error: ContainerNotFound) -> bool:
        self.exit_code = self._ended(self._start.ref)
        if self.exit_code is None:
            raise error
        self.cut = True
        self._end()
        return True
