"""The verbs that concern images, as a program on the node calls them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any, BinaryIO

from longshore.errors import InvalidRequest, LongshoreError
from longshore.local import convert
from longshore.local.calls import Calls
from longshore.local.spool import CHUNK
from longshore.model.commit import Commit
from longshore.model.status import ImageDetail, ImageStatus, PruneStatus, TransferStatus
from longshore.model.transfer import Auth, Credential, PullPolicy
from longshore.pb.longshore.v1 import agent_pb2

_NO_AUTH = Auth()
_AS_IT_IS = Commit()


class ImageVerbs:
    """The part of LocalClient that concerns images. `name` is any way to write an image's name."""

    def __init__(self, calls: Calls, timeout: float) -> None:
        self._calls = calls
        self._timeout = timeout

    def load_image(self, archive: BinaryIO) -> Sequence[ImageStatus]:
        """Sends an image archive; the timeout counts from its last byte on."""
        begins = archive.tell() if archive.seekable() else None

        def chunks() -> Iterator[Any]:
            if begins is not None:
                archive.seek(begins)
            size = 0
            while data := archive.read(CHUNK):
                size += len(data)
                yield agent_pb2.ImageChunk(data=data)
            yield agent_pb2.ImageChunk(size=size)

        # What cannot be read again is not sent again.
        by = 0.0 if begins is None else self._by()
        return _images(self._calls.send("LoadImage", "load the image", chunks, self._timeout, by))

    def list_images(self) -> Sequence[ImageStatus]:
        request = agent_pb2.ListImagesRequest()
        return _images(self._calls.ask("ListImages", "list images", request, self._by()))

    def show_image(self, name: str) -> ImageDetail:
        request = message(agent_pb2.ShowImageRequest, name=name)
        reply = self._calls.ask("ShowImage", f"show image {name}", request, self._by())
        return ImageDetail.model_validate(convert.to_dict(reply))

    def pull_image(
        self,
        name: str,
        policy: PullPolicy | str = PullPolicy.ALWAYS,
        auth: Auth = _NO_AUTH,
    ) -> Generator[TransferStatus, None, ImageStatus]:
        """Yields how it goes, and returns the image.

        Closing the generator leaves the pull, which ends when nobody else waits for it. The
        timeout is for the agent's silence, not for the pull; an agent that restarts is asked again.
        """
        request = message(
            agent_pb2.PullImageRequest, name=name, policy=str(policy), auth=auth_of(auth)
        )
        last = yield from self._followed("PullImage", f"pull {name}", request, "image")
        return _image(last)

    def prefetch_image(
        self,
        name: str,
        policy: PullPolicy | str = PullPolicy.ALWAYS,
        auth: Auth = _NO_AUTH,
    ) -> TransferStatus:
        """Has it pulled and returns at once; `node_status` tells how it goes."""
        request = message(
            agent_pb2.PullImageRequest, name=name, policy=str(policy), auth=auth_of(auth)
        )
        return _transfer(self._calls.ask("PrefetchImage", f"prefetch {name}", request, self._by()))

    def push_image(
        self, name: str, to: str, auth: Auth = _NO_AUTH
    ) -> Generator[TransferStatus, None, TransferStatus]:
        """Yields how it goes, and returns the end, whose `digest` is what the image is there.

        As `pull_image` with regard to leaving and the timeout.
        """
        request = message(agent_pb2.PushImageRequest, name=name, to=to, auth=auth_of(auth))
        last = yield from self._followed("PushImage", f"push {name}", request, "result")
        return _transfer(last)

    def save_images(self, names: Sequence[str]) -> Generator[bytes, None, None]:
        """One archive of all of them, in pieces. What came is whole only if nothing is raised."""
        request = message(agent_pb2.SaveImagesRequest, names=names)
        received, size = 0, None
        chunks = self._calls.follow(
            "SaveImages", "save the images", request, self._timeout, resumes=False
        )
        for chunk in chunks:
            received += len(chunk.data)
            size = chunk.size if chunk.HasField("size") else None
            if chunk.data:
                yield chunk.data
        if size != received:
            raise LongshoreError(
                f"cannot save the images: the archive broke off after {received} bytes"
            )

    def tag_image(self, name: str, new: str) -> ImageStatus:
        """Gives an image one more name; one that stood for another image is moved."""
        request = message(agent_pb2.TagImageRequest, name=name, new=new)
        return _image(self._calls.ask("TagImage", f"tag {name} as {new}", request, self._by()))

    def remove_image(self, name: str) -> ImageStatus:
        """Removes one name; ImageInUse while a container uses it and no other name stays."""
        request = message(agent_pb2.RemoveImageRequest, name=name)
        return _image(self._calls.once("RemoveImage", f"remove {name}", request, self._by()))

    def prune_images(self, *, all: bool = False) -> PruneStatus:
        """Removes content that no image needs; `all`: also images that no container uses."""
        request = agent_pb2.PruneImagesRequest(all=all)
        reply = self._calls.once("PruneImages", "prune images", request, self._by())
        return PruneStatus.model_validate(convert.to_dict(reply))

    def commit(self, ref: str, name: str, change: Commit = _AS_IT_IS) -> ImageStatus:
        """Makes image `name` of a container's files."""
        request = message(
            agent_pb2.CommitRequest,
            ref=ref,
            name=name,
            author=change.author,
            message=change.message,
            changes=change.changes,
            pause=change.pause,
        )
        return _image(self._calls.once("Commit", f"commit {ref}", request, self._by()))

    def _followed(
        self, rpc: str, what: str, request: Any, last: str
    ) -> Generator[TransferStatus, None, Any]:
        """Yields the progress in replies, and returns what is in the last one's field."""
        for reply in self._calls.follow(rpc, what, request, self._timeout, resumes=True):
            if reply.HasField(last):
                return getattr(reply, last)
            yield _transfer(reply.progress)
        raise LongshoreError(f"cannot {what}: the agent's answer broke off")

    def _by(self, patience: float = 0) -> float:
        return time.monotonic() + self._timeout + patience


def message(cls: Any, **fields: Any) -> Any:
    """Raises InvalidRequest for what no message can hold: half a surrogate, a huge number."""
    try:
        return cls(**fields)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"cannot send the request: {error}") from error


def credential_of(credential: Credential | None) -> Any:
    """As it is sent; None for none."""
    if credential is None:
        return None
    fields = ("username", "password", "token")
    return message(agent_pb2.Credential, **{one: getattr(credential, one) for one in fields})


def auth_of(auth: Auth) -> Any:
    """As it is sent."""
    return message(agent_pb2.Auth, credential=credential_of(auth.credential), name=auth.name)


def _image(reply: Any) -> ImageStatus:
    return ImageStatus.model_validate(convert.to_dict(reply))


def _images(reply: Any) -> Sequence[ImageStatus]:
    return [_image(one) for one in reply.images]


def _transfer(reply: Any) -> TransferStatus:
    return TransferStatus.model_validate(convert.to_dict(reply))
