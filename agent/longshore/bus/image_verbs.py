"""The verbs that concern images, as oslo.messaging calls them: decode, call, encode.

The bus does not tell when a caller has gone: what was begun here goes on past its deadline.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.model import image_messages as asks

T = TypeVar("T")


class Images:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def load_image(self, call: Call) -> JSON:
        asked = wire.decode(wire.LoadImage, call.message)
        return wire.encode(self._service.load_image(Path(asked.path)))

    @verb
    def list_images(self, call: Call) -> JSON:
        wire.decode(wire.ListImages, call.message)
        return wire.encode(self._service.list_images())

    @verb
    def show_image(self, call: Call) -> JSON:
        asked = wire.decode(asks.ShowImage, call.message)
        return wire.encode(self._service.show_image(asked.name))

    @verb
    def pull_image(self, call: Call) -> JSON:
        asked = wire.decode(asks.PullImage, call.message)
        return wire.encode(self._outcome("pull_image", self._service.pull_image(*asked.asked)))

    @verb
    def prefetch_image(self, call: Call) -> JSON:
        asked = wire.decode(asks.PrefetchImage, call.message)
        return wire.encode(self._service.prefetch_image(*asked.asked))

    @verb
    def push_image(self, call: Call) -> JSON:
        asked = wire.decode(asks.PushImage, call.message)
        work = self._service.push_image(asked.name, asked.to, asked.auth.value)
        return wire.encode(self._outcome("push_image", work))

    @verb
    def save_images(self, call: Call) -> JSON:
        asked = wire.decode(asks.SaveImages, call.message)
        self._service.save_images_to(asked.names, Path(asked.path))
        return wire.encode(None)

    @verb
    def tag_image(self, call: Call) -> JSON:
        asked = wire.decode(asks.TagImage, call.message)
        return wire.encode(self._service.tag_image(asked.name, asked.new))

    @verb
    def remove_image(self, call: Call) -> JSON:
        asked = wire.decode(asks.RemoveImage, call.message)
        return wire.encode(self._service.remove_image(asked.name))

    @verb
    def prune_images(self, call: Call) -> JSON:
        asked = wire.decode(asks.PruneImages, call.message)
        return wire.encode(self._service.prune_images(all=asked.all))

    @verb
    def commit(self, call: Call) -> JSON:
        asked = wire.decode(asks.CommitContainer, call.message)
        return wire.encode(self._service.commit(asked.ref, asked.name, asked.change))

    def _outcome(self, verb: str, work: Generator[Any, None, T]) -> T:
        """What comes of it in the end; the agent's stop ends the waiting."""
        with closing(work):
            while True:
                try:
                    next(work)
                except StopIteration as end:
                    outcome: T = end.value
                    return outcome
                self.door.check_open(verb)
