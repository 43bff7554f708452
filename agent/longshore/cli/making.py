"""What `run` and `create` are asked for beside the spec: how the image comes, which `rebuild` asks
for too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from longshore.cli import credentials, spec_options, specs
from longshore.cli.transfers import Steps
from longshore.errors import ImageNotFound
from longshore.local.client import LocalClient
from longshore.model.spec import ContainerSpec
from longshore.model.status import ContainerStatus, ImageStatus
from longshore.model.transfer import Auth, Credential, PullPolicy

F = TypeVar("F", bound=Callable[..., Any])
_PREFIX = "registry-"


@dataclass(frozen=True)
class Making:
    """A container that is to be made. `publish_all`: also the ports that its image exposes."""

    spec: ContainerSpec
    credential: Credential | None
    publish_all: bool
    quiet: bool

    def fetch(self, client: LocalClient) -> Callable[[], Steps[ImageStatus]] | None:
        """What begins its image's pull; None when there is nothing to wait for."""
        auth = Auth(self.credential, self.spec.image_credential)
        return fetch(client, self.spec.image, PullPolicy(self.spec.pull), auth)

    def make(self, client: LocalClient, *, start: bool = True) -> ContainerStatus:
        """Creates it of the image, which is here now."""
        spec = self.spec
        if self.publish_all:
            exposed = client.show_image(spec.image).exposed_ports
            spec = specs.publishing(spec, exposed)
        return client.create(spec, start=start, credential=self.credential)


def fetch(
    client: LocalClient, image: str, policy: PullPolicy, auth: Auth
) -> Callable[[], Steps[ImageStatus]] | None:
    """What begins the image's pull; None when there is nothing to wait for.

    One that is here is not pulled to find that out: it would queue behind real pulls.

    Raises:
        ImageNotFound: it is not here, and is not to be pulled.
    """
    if policy is not PullPolicy.ALWAYS:
        try:
            client.show_image(image)
        except ImageNotFound:
            if policy is PullPolicy.NEVER:
                raise
        else:
            return None
    return lambda: client.pull_image(image, policy, auth)


def options(command: F) -> F:
    """Those of the spec, and those of how the image comes."""
    more = [
        spec_options.spec_options,
        credentials.secret_options(_PREFIX),
        click.option("--publish-all", "-P", is_flag=True,
                     help="Publish the ports that the image exposes; the node picks HOST."),
        click.option("--quiet", "-q", is_flag=True, help="Not how the image comes."),
    ]  # fmt: skip
    for decorate in reversed(more):
        command = decorate(command)
    return command


def asked(given: Mapping[str, Any], environment: Mapping[str, str]) -> Making:
    """What those options say.

    Raises:
        click.UsageError: options that exclude each other, or a secret that is none.
        InvalidSpec: as `specs.parsed`.
    """
    spec = specs.parsed(given, environment)
    if given["publish_all"] and not spec.interfaces:
        raise click.UsageError(f"--network {given['network']} leaves nothing to publish: drop -P")
    credential = credentials.secret(given, spec.image_credential, _PREFIX)
    return Making(spec, credential, given["publish_all"], given["quiet"])
