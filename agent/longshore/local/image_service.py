"""The gRPC face of lifecycle's Service, for images: decode, call, encode; no decisions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, TypeVar

import grpc

from longshore.lifecycle.service import Service
from longshore.local import convert, stall
from longshore.local.door import Door
from longshore.local.spool import chunks, spooled, whole
from longshore.local.stall import Watchdog
from longshore.model import image_messages as asks
from longshore.model.message import decode
from longshore.model.status import Value
from longshore.pb.longshore.v1 import agent_pb2

LOG = logging.getLogger(__name__)
V = TypeVar("V", bound=Value)


class ImageService:
    """The methods of service Agent that concern images.

    Args:
        max_image: bytes of an image archive.
    """

    def __init__(self, service: Service, door: Door, max_image: int) -> None:
        self._service = service
        self._door = door
        self._max_image = max_image

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {
            "LoadImage": self.load_image,
            "ListImages": self.list_images,
            "ShowImage": self.show_image,
            "PullImage": self.pull_image,
            "PrefetchImage": self.prefetch_image,
            "PushImage": self.push_image,
            "SaveImages": self.save_images,
            "TagImage": self.tag_image,
            "RemoveImage": self.remove_image,
            "PruneImages": self.prune_images,
            "Commit": self.commit,
        }

    def load_image(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "load_image", "load the image"):
            self._log(context, "load of an image")
            with (
                Watchdog(context, stall.STALL) as watchdog,
                spooled(
                    whole(watchdog.incoming(request_iterator)),
                    self._service.spool_dir,
                    self._max_image,
                ) as archive,
            ):
                return _images(self._service.load_spooled_image(archive))

    def list_images(self, request: Any, context: grpc.ServicerContext) -> Any:
        del request
        with self._door.serving(context, "list_images", "list images"):
            return _images(self._service.list_images())

    def show_image(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "show_image", "show the image"):
            asked = decode(asks.ShowImage, convert.to_dict(request))
            return _fill(agent_pb2.ImageDetail(), self._service.show_image(asked.name))

    def pull_image(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with self._door.serving(context, "pull_image", "pull the image"):
            asked = decode(asks.PullImage, convert.to_dict(request))
            self._log(context, "pull of %s", asked.name)
            work = self._service.pull_image(*asked.asked)
            yield from self._followed(
                context,
                work,
                agent_pb2.PullImageReply,
                lambda image: agent_pb2.PullImageReply(image=_image(image)),
            )

    def prefetch_image(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "prefetch_image", "prefetch the image"):
            asked = decode(asks.PrefetchImage, convert.to_dict(request))
            self._log(context, "prefetch of %s", asked.name)
            return _fill(agent_pb2.TransferStatus(), self._service.prefetch_image(*asked.asked))

    def push_image(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with self._door.serving(context, "push_image", "push the image"):
            asked = decode(asks.PushImage, convert.to_dict(request))
            self._log(context, "push of %s to %s", asked.name, asked.to)
            work = self._service.push_image(asked.name, asked.to, asked.auth.value)
            yield from self._followed(
                context,
                work,
                agent_pb2.PushImageReply,
                lambda result: agent_pb2.PushImageReply(
                    result=_fill(agent_pb2.TransferStatus(), result)
                ),
            )

    def save_images(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with self._door.serving(context, "save_images", "save the images"):
            asked = decode(asks.ReadImages, convert.to_dict(request))
            self._log(context, "save of %s", ", ".join(asked.names))
            with (
                Watchdog(context, stall.STALL) as watchdog,
                closing(chunks(self._service.save_images(asked.names))) as messages,
            ):
                for message in messages:
                    self._door.check_open("save the images")
                    # What is not taken off the wire is waited for in here.
                    with watchdog.waiting():
                        yield message

    def tag_image(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "tag_image", "tag the image"):
            asked = decode(asks.TagImage, convert.to_dict(request))
            self._log(context, "tag of %s as %s", asked.name, asked.new)
            return _image(self._service.tag_image(asked.name, asked.new))

    def remove_image(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "remove_image", "remove the image"):
            asked = decode(asks.RemoveImage, convert.to_dict(request))
            self._log(context, "removal of image %s", asked.name)
            return _image(self._service.remove_image(asked.name))

    def prune_images(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "prune_images", "prune images"):
            asked = decode(asks.PruneImages, convert.to_dict(request))
            self._log(context, "prune of images (all: %s)", asked.all)
            return _fill(agent_pb2.PruneStatus(), self._service.prune_images(all=asked.all))

    def commit(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "commit", "commit the container"):
            asked = decode(asks.CommitContainer, convert.to_dict(request))
            self._log(context, "commit of %s as %s", asked.ref, asked.name)
            return _image(self._service.commit(asked.ref, asked.name, asked.change))

    def _followed(
        self,
        context: grpc.ServicerContext,
        work: Generator[Value, None, V],
        reply: Any,
        last: Callable[[V], Any],
    ) -> Iterator[Any]:
        """How the work goes, as messages, and what comes of it, until the caller has left."""
        done = False
        with closing(work), Watchdog(context, stall.STALL) as watchdog:
            while not done and context.is_active():
                try:
                    progress = next(work)
                except StopIteration as end:
                    done, message = True, last(end.value)
                else:
                    self._door.check_open("go on")
                    message = reply(progress=_fill(agent_pb2.TransferStatus(), progress))
                with watchdog.waiting():
                    yield message

    def _log(self, context: grpc.ServicerContext, what: str, *of: object) -> None:
        LOG.info(f"{what} asked by %s", *of, self._door.origin(context))


def _fill(message: Any, value: Value) -> Any:
    return convert.fill(message, value.to_dict())


def _images(images: Iterable[Value]) -> Any:
    return agent_pb2.ImageList(images=[_image(one) for one in images])


def _image(image: Value) -> Any:
    return _fill(agent_pb2.ImageStatus(), image)
