"""How it is found out whether a container does its work, and what follows if not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from longshore.model.faults import faults_of
from longshore.model.values import Part, Text, fault

Seconds = Annotated[float, Field(ge=0.1, le=86400, strict=False, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]
#: What each kind of check is made of, beside what all have.
_OF: dict[str, tuple[str, ...]] = {
    "none": (),
    "exec": ("command",),
    "http": ("port", "path", "tls"),
    "tcp": ("port",),
}


class HealthCheck(Part):
    """A probe, run again and again while the container runs.

    The first comes right after the start, and until start_period and the first interval are over
    there are more of them: success makes it healthy at once, while a failure does not count yet.

    Args:
        type: `http` asks for a page in the container's network, and 200 to 399 is healthy; `tcp`
            connects to a port there; `exec` runs a command in the container, and 0 is healthy;
            `none`: nothing is probed, whatever the image says.
        command: of exec; run as it is, not by a shell.
        port: of http and tcp.
        path: of http.
        tls: of http; no certificate is checked.
        interval: seconds from the end of a probe to the beginning of the next.
        timeout: seconds that a probe may take.
        retries: how many failures in a row make it unhealthy.
        start_period: seconds after the start in which failures do not count.
        on_unhealthy: `none`; `restart` it; `stop` it; `kill` its process, after which its restart
            policy decides.
        budget: how often in an hour on_unhealthy acts; after that it is left as it is.
    """

    type: Literal["none", "exec", "http", "tcp"]
    command: Annotated[tuple[Text, ...], Field(max_length=256)] = ()
    port: Port | None = None
    path: Annotated[str, Field(max_length=2048, pattern=r"^/[\x21-\x7e]*$")] = "/"
    tls: bool = False
    interval: Seconds = 30.0
    timeout: Seconds = 30.0
    retries: Annotated[int, Field(ge=1, le=1000)] = 3
    start_period: Annotated[float, Field(ge=0, le=86400, strict=False, allow_inf_nan=False)] = 0.0
    on_unhealthy: Literal["none", "restart", "stop", "kill"] = "none"
    budget: Annotated[int, Field(ge=1, le=1000)] = 5

    @field_validator("interval", "timeout", "start_period", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        if isinstance(value, bool | str):
            raise ValueError("must be a number of seconds")  # noqa: TRY004 - pydantic's contract
        return value

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        own = _OF[self.type]
        for name in ("command", "port", "path", "tls"):
            if name in self.model_fields_set and name not in own:
                if getattr(self, name) == type(self).model_fields[name].get_default():
                    continue
                raise fault(name, f"is nothing that {self.type} has")
        if "command" in own and not self.command:
            raise fault("command", "must be given for exec")
        if "port" in own and self.port is None:
            raise fault("port", f"must be given for {self.type}")
        return self


#: Nanoseconds in docker's words; 0, or none: the default.
_TIMES = {"Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period"}
_SHELL = ("/bin/sh", "-c")
_AT_LEAST, _AT_MOST = 0.1, 86400.0


def of_image(written: Mapping[str, Any]) -> HealthCheck | None:
    """The check that an image's Healthcheck asks for, None if it asks for none.

    What docker has no word for has its default. Times and counts that no check can have are
    brought to the next that one can.

    Raises:
        ValueError: it cannot be understood, and why.
    """
    kind, *words = written.get("Test") or ("",)
    if kind in ("", "NONE"):
        return None
    if kind not in ("CMD", "CMD-SHELL"):
        raise ValueError(f"Test begins with {kind[:40]!r}, not with CMD, CMD-SHELL or NONE")
    if not words:
        raise ValueError(f"Test has nothing after {kind}")
    asked: dict[str, Any] = {"command": tuple(words if kind == "CMD" else (*_SHELL, *words))}
    for theirs, ours in _TIMES.items():
        if written.get(theirs):
            least = 0.0 if ours == "start_period" else _AT_LEAST
            asked[ours] = min(_AT_MOST, max(least, written[theirs] / 1e9))
    if written.get("Retries"):
        asked["retries"] = min(1000, max(1, written["Retries"]))
    try:
        return HealthCheck(type="exec", **asked)
    except ValidationError as error:
        first = faults_of(error, "")[0]
        raise ValueError(f"{first['field']} {first['why']}") from None


def check_of(asked: HealthCheck | None, image: Mapping[str, Any] | None) -> HealthCheck | None:
    """What a container is probed with, None: nothing.

    Args:
        asked: of its spec.
        image: its image's Healthcheck. One that cannot be understood counts as none here;
            `fault_of` says why.
    """
    if asked is not None:
        return None if asked.type == "none" else asked
    try:
        return of_image(image) if image else None
    except ValueError:
        return None


def fault_of(asked: HealthCheck | None, image: Mapping[str, Any] | None) -> str | None:
    """Why nothing is probed though the image asks for it."""
    if asked is not None or not image:
        return None
    try:
        of_image(image)
    except ValueError as error:
        return str(error)
    return None


def words_of(check: HealthCheck) -> str:
    """What is probed, in a few words."""
    if check.type == "exec":
        return _command(check.command)
    scheme = {"http": "https" if check.tls else "http"}.get(check.type, check.type)
    return f"{scheme} {check.port}{check.path if check.type == 'http' else ''}"


def _command(words: Sequence[str]) -> str:
    return " ".join(words[2:] if tuple(words[:2]) == _SHELL else words)
