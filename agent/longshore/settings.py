"""The part of the configuration that may change while the agent runs: what requests may ask for.

SIGHUP has the files read again. They take effect as a whole or, if anything in them is wrong, not
at all. Requests from then on see the new rules; what was admitted before is not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longshore import config as configuration
from longshore.config import Config
from longshore.errors import InvalidRequest
from longshore.host.flavors import load as load_flavors
from longshore.model.capacity import PROMISED, Share
from longshore.model.flavors import Flavors
from longshore.model.policy import DeviceRule, Rules, capabilities

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Args:
    roots: folders beneath which bind sources must lie.
    shares: what of each resource is kept back, and how often the rest may be promised.
    """

    rules: Rules
    roots: tuple[Path, ...]
    flavors: Flavors
    shares: Mapping[str, Share]


def settings(config: Config) -> Settings:
    """Raises InvalidRequest: the flavors' file is wrong."""
    policy = config.policy
    return Settings(
        rules=Rules(
            allow_privileged=policy.allow_privileged,
            allow_host_network=policy.allow_host_network,
            require_user_namespace=policy.require_user_namespace,
            capabilities=capabilities(policy.allowed_capabilities),
            devices=tuple(DeviceRule.parse(one) for one in policy.allowed_devices),
            sysctls=tuple(policy.allowed_sysctls),
            annotations=tuple(policy.allowed_annotations),
        ),
        roots=tuple(Path(root) for root in config.volumes.roots),
        flavors=load_flavors(Path(config.flavors.file), config.flavors.default),
        shares={name: Share(config.reserve[name], config.overcommit[name]) for name in PROMISED},
    )


class Reload:
    """Args:
    apply: has requests judged by them from now on.
    tell: called when `findings` may be others.
    """

    def __init__(
        self, config: Config, apply: Callable[[Settings], None], tell: Callable[[], None]
    ) -> None:
        self._config = config
        self._apply = apply
        self._tell = tell
        self._refused: str | None = None
        self._ignored: Sequence[str] = ()

    def run(self) -> bool:
        """Returns whether the files could be used."""
        try:
            new = configuration.again(self._config)
            fresh = settings(new)
            changed, ignored = configuration.differences(self._config, new)
            configuration.adopt(self._config, new)
        except InvalidRequest as error:
            self._refused = f"the configuration was not reloaded, the old one goes on: {error}"
            LOG.error("%s", self._refused)
            self._tell()
            return False
        self._refused, self._ignored = None, ignored
        self._apply(fresh)
        LOG.info("the configuration was reloaded; changed: %s", ", ".join(changed) or "nothing")
        if ignored:
            LOG.warning("changed in the configuration, and needs a restart: %s", ", ".join(ignored))
        self._tell()
        return True

    def findings(self) -> list[str]:
        """What of the files is not in effect, and why."""
        refused = [self._refused] if self._refused else []
        if not self._ignored:
            return refused
        return [*refused, f"needs a restart of the agent: {', '.join(self._ignored)}"]
