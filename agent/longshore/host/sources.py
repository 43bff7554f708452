"""Where images come from and go to: a registry, or Glance, as the name says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from longshore.errors import InvalidRequest
from longshore.model.reference import is_glance
from longshore.model.transfer import Auth, Content, ImageSource, Watch


class Source(Protocol):
    """One kind of source; see lifecycle.ports.ImageSources."""

    def resolve(self, name: str, auth: Auth, watch: Watch) -> ImageSource: ...

    def check(self, name: str, auth: Auth) -> None: ...

    def push(self, name: str, content: Content, auth: Auth, watch: Watch) -> str: ...


class Sources:
    """Implements lifecycle.ports.ImageSources.

    Args:
        registries: for the names of images in registries.
        glance: makes the source for `glance://`; None: the node has none.
    """

    def __init__(self, registries: Source, glance: Callable[[], Source] | None) -> None:
        self._registries = registries
        self._glance = glance

    def resolve(self, name: str, auth: Auth, watch: Watch) -> ImageSource:
        return self._source(name).resolve(name, auth, watch)

    def check(self, name: str, auth: Auth) -> None:
        self._source(name).check(name, auth)

    def push(self, name: str, content: Content, auth: Auth, watch: Watch) -> str:
        return self._source(name).push(name, content, auth, watch)

    def _source(self, name: str) -> Source:
        if not is_glance(name):
            return self._registries
        if self._glance is None:
            raise InvalidRequest(
                f"cannot use {name}: this node has no Glance configured",
                object=name,
                hint="set [glance] auth_url and the node's credentials in its configuration",
            )
        return self._glance()
