"""The messages that concern commands in a running container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from longshore.model.execs import Command
from longshore.model.message import Message, Ref, RequestId
from longshore.model.values import no_nul

#: As long as one message on the bus may be waited for.
TIMEOUT, TIMEOUT_MAX = 60.0, 3600.0
#: What of an output goes into one message.
OUTPUT, OUTPUT_MAX = 64 * 1024, 256 * 1024
_SIZE_MAX = 65535


def _variable(text: str) -> str:
    if "=" in text:
        raise ValueError("must not hold =")
    return no_nul(text)


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must be an absolute path")
    return no_nul(text)


Word = Annotated[str, Field(max_length=128 * 1024), AfterValidator(no_nul)]


class CommandMessage(Message):
    since: ClassVar[str] = "1.3"
    ref: Ref
    request_id: RequestId
    command: Annotated[list[Word], Field(min_length=1, max_length=4096)]
    env: dict[
        Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_variable)], Word
    ] = Field(default_factory=dict, max_length=4096)
    workdir: (
        Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_absolute)] | None
    ) = None
    user: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(no_nul)] | None = None
    privileged: bool = False


class Execute(CommandMessage):
    """`timeout`: seconds until it is killed; `output_max`: bytes of each output that are kept."""

    verb = "execute"
    timeout: Annotated[float, Field(gt=0, le=TIMEOUT_MAX, allow_inf_nan=False)] = TIMEOUT
    output_max: Annotated[int, Field(ge=0, le=OUTPUT_MAX)] = OUTPUT

    def asked(self) -> Command:
        return Command(
            tuple(self.command), self.env, self.workdir, self.user, privileged=self.privileged
        )


class Size(Message):
    verb = "resize"
    rows: Annotated[int, Field(ge=0, le=_SIZE_MAX)] = 0
    columns: Annotated[int, Field(ge=0, le=_SIZE_MAX)] = 0


class Exec(CommandMessage):
    verb = "exec"
    tty: bool = False
    stdin: bool = False
    size: Size | None = None

    def asked(self) -> Command:
        size = self.size or Size()
        return Command(
            tuple(self.command),
            self.env,
            self.workdir,
            self.user,
            tty=self.tty,
            stdin=self.stdin,
            rows=size.rows,
            columns=size.columns,
            privileged=self.privileged,
        )


class Position(Message):
    verb = "attach"
    stdout: Annotated[int, Field(ge=0, lt=2**63)] = 0
    stderr: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def by_stream(self) -> Mapping[str, int]:
        return {"stdout": self.stdout, "stderr": self.stderr}


class Attach(Message):
    since: ClassVar[str] = "1.3"
    verb = "attach"
    ref: Ref
    stdin: bool = False
    from_start: bool = False
    size: Size | None = None
    after: Position | None = None
