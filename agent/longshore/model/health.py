"""How it is found out whether a container does its work, and what follows if not."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

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
