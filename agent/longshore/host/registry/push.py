"""An image on its way into a registry: what it has not got yet, and then the documents.

Blobs go first, several at a time, each as Docker's client sends it: POST begins an upload, PATCH
streams the bytes, PUT ends it with the digest. A connection that breaks goes on where the registry
says that it was (OCI distribution 1.1, 'Pushing a blob in chunks'), or from the start where it
does not know any more. The name comes last, so nobody can pull half an image.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

from longshore.errors import (
    BadImage,
    HostFailed,
    ImageNotFound,
    ImageSourceFailed,
    ImageSourceUnavailable,
    InvalidRequest,
    LongshoreError,
    PullCancelled,
)
from longshore.host.registry.exchange import Response
from longshore.host.registry.http import Repository
from longshore.model import documents
from longshore.model.documents import Descriptor
from longshore.model.fields import parse
from longshore.model.reference import Reference
from longshore.model.transfer import Content, Watch

_PIECE = 1024 * 1024
#: As documents.resolve allows: an index in an index, and so on.
_NESTING_MAX = 4
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
#: What registries answer, beside what the specification has them answer, when all is well.
_TAKEN = (200, 201, 202, 204)
#: What they answer when asked for an upload that they do not know, or do not tell about.
_FORGOTTEN = (400, 404, 405, 416, 501)


def push(repository: Repository, reference: Reference, content: Content, watch: Watch) -> str:
    """Sends the image and gives it its name there.

    Args:
        repository: with the actions `pull,push`; the one that `reference` means.
        content: with one candidate; all that it leads to is sent.

    Returns:
        Its digest.

    Raises:
        InvalidRequest: the name holds a digest, and the image has another.
        BadImage: its content is not what its documents say.
        ImageSourceDenied, ImageSourceUnavailable, ImageSourceFailed, and what the watch and the
        content raise.
    """
    target = content.candidates[0]
    if reference.digest not in (None, target.digest):
        raise InvalidRequest(
            f"cannot {repository.patience.task.what}: its digest is {target.digest}",
            field="image",
            object=reference.name,
            hint="leave the digest out of the name",
        )
    plan = _planned(content, target)
    watch.planned(target.digest, {one.digest: one.size for one in plan.layers.values()})
    _send_blobs(repository, content, watch, plan)
    for document in plan.documents:
        watch.check()
        tag = reference.tag if document.digest == target.digest else None
        _put(repository, document, plan.bytes_of[document.digest], tag or document.digest)
    return target.digest


@dataclass
class _Plan:
    """By digest, so what two platforms share is sent once. `documents`: inner ones first."""

    layers: dict[str, Descriptor] = field(default_factory=dict)
    configs: dict[str, Descriptor] = field(default_factory=dict)
    documents: list[Descriptor] = field(default_factory=list)
    bytes_of: dict[str, bytes] = field(default_factory=dict)


def _planned(content: Content, target: Descriptor) -> _Plan:
    plan = _Plan()

    def visit(document: Descriptor, depth: int) -> None:
        if document.digest in plan.bytes_of:
            return
        if depth > _NESTING_MAX:
            raise BadImage("cannot use the image: its indexes are nested too deeply")
        data = plan.bytes_of[document.digest] = content.read(document)
        parsed = parse(data, document.digest)
        is_index = "manifests" in parsed
        inner = documents.children(parsed)
        if is_index:
            for one in inner:
                visit(one, depth + 1)
        else:
            plan.configs[inner[0].digest] = inner[0]
            plan.layers |= {layer.digest: layer for layer in inner[1:]}
        media = document.media_type or str(parsed.get("mediaType") or "")
        assumed = documents.INDEX if is_index else documents.MANIFEST
        plan.documents.append(replace(document, media_type=media or assumed))

    visit(target, 0)
    return plan


def _send_blobs(repository: Repository, content: Content, watch: Watch, plan: _Plan) -> None:
    """The first failure ends them all, and is raised."""
    failed = threading.Event()

    def check() -> None:
        watch.check()
        if failed.is_set():
            raise PullCancelled(
                f"cannot {repository.patience.task.what}: another part of it failed"
            )

    ours = copy.copy(repository)
    ours.patience = replace(repository.patience, check=check)
    blobs = plan.configs | plan.layers
    with ThreadPoolExecutor(max(1, content.parallel), "push") as pool:
        futures = {
            pool.submit(_Upload(ours, content, watch, blob, blob.digest in plan.layers).run)
            for blob in blobs.values()
        }
        first: BaseException | None = None
        for future in as_completed(futures):
            error = future.exception()
            if error is not None and first is None:
                first = error  # the others end after this, and by it
                failed.set()
        if first is not None:
            raise first


@dataclass
class _Upload:
    """One blob. `told`: whether the watch counts it."""

    repository: Repository
    content: Content
    watch: Watch
    blob: Descriptor
    told: bool

    def run(self) -> None:
        self.repository.patience.check()
        if not self._is_there():
            self._upload()
        if self.told:
            self.watch.fetched(self.blob.digest, self.blob.size)
            self.watch.finished(self.blob.digest)

    def _is_there(self) -> bool:
        target = f"blobs/{self.blob.digest}"
        with self.repository.request("HEAD", target, good=(200, 404)) as answer:
            return answer.status == 200

    def _upload(self) -> None:
        """Tries again as long as some more of it has arrived, and a few times when not."""
        location, offset, furthest, failures = self._begin(), 0, 0, 0
        while True:
            try:
                location = self._stream(location, offset)
                return self._finish(location)
            except (ImageSourceUnavailable, ImageNotFound) as error:
                failures += 1
                if failures >= self.repository.endpoint.tries:
                    raise _upload_failure(error) from error
                self.repository.patience.pause(failures)
                found = self._status(location)
                if found is None and self._is_there():
                    return None  # it was the answer that got lost
                location, offset = found or (self._begin(), 0)
                if offset > self.blob.size:
                    raise self._odd("has more of it than there is") from error
                if offset > furthest:
                    furthest, failures = offset, 0

    def _begin(self) -> str:
        try:
            with self.repository.request("POST", "blobs/uploads/", good=(202,)) as answer:
                return self._location(answer)
        except ImageNotFound as error:
            raise _upload_failure(error) from error

    def _stream(self, location: str, offset: int) -> str:
        """Sends the blob from `offset` on; returns where to go on."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(self.blob.size - offset),
        }
        if offset == self.blob.size:
            return location
        if offset:
            headers["Content-Range"] = f"{offset}-{self.blob.size - 1}"
        with ExitStack() as stack:
            answer = self.repository.request(
                "PATCH",
                location,
                headers=headers,
                body=lambda: stack.enter_context(closing(self._pieces(offset))),
                good=_TAKEN,
                tries=1,
            )
            return self._location(stack.enter_context(answer), location)

    def _finish(self, location: str) -> None:
        target = f"{location}{'&' if '?' in location else '?'}digest={self.blob.digest}"
        with self.repository.request(
            "PUT", target, headers={"Content-Length": "0"}, good=_TAKEN, tries=1
        ) as answer:
            _check_digest(self.repository, answer.headers, self.blob.digest)

    def _status(self, location: str) -> tuple[str, int] | None:
        """Where to go on and with which byte; None: the upload is not known any more."""
        good = (*_TAKEN, *_FORGOTTEN)
        with self.repository.request("GET", location, good=good) as answer:
            if answer.status in _FORGOTTEN:
                return None
            span = _RANGE.fullmatch(answer.headers.get("Range", ""))
            last = int(span[1]) if span else 0
            # '0-0' says one byte and none alike: a byte sent twice would be one too many.
            return (self._location(answer, location), last + 1) if last else None

    def _pieces(self, offset: int) -> Generator[bytes]:
        """Exactly the bytes from `offset` on; a LongshoreError of ours ends the request."""
        blob, done = self.blob, offset
        try:
            with self.content.open(blob, offset) as reader:
                while done < blob.size and (piece := reader.read(_PIECE)):
                    self.repository.patience.check()
                    done += len(piece)
                    if done > blob.size:
                        break
                    yield piece
                    if self.told:
                        self.watch.fetched(blob.digest, done)
        except OSError as error:
            # Not the connection's: that would be tried again.
            raise HostFailed(f"cannot read {blob.digest}: {error}", object=blob.digest) from error
        if done != blob.size:
            raise BadImage(
                f"cannot read {blob.digest}: it does not have the {blob.size} bytes that it should",
                object=blob.digest,
            )

    def _location(self, answer: Response, known: str = "") -> str:
        said = answer.headers.get("Location", "")
        if not said and not known:
            raise self._odd("does not say where to send it")
        return urljoin(known, said)

    def _odd(self, why: str) -> LongshoreError:
        return self.repository.error(ImageSourceFailed, why)


def _upload_failure(error: LongshoreError) -> LongshoreError:
    """No image is missing where a registry answers an upload by 404."""
    if not isinstance(error, ImageNotFound):
        return error
    return ImageSourceFailed(error.message, object=error.object)


def _put(repository: Repository, document: Descriptor, data: bytes, version: str) -> None:
    headers = {"Content-Type": document.media_type, "Content-Length": str(len(data))}
    with repository.request(
        "PUT", f"manifests/{version}", headers=headers, body=data, good=_TAKEN
    ) as answer:
        _check_digest(repository, answer.headers, document.digest)


def _check_digest(repository: Repository, headers: Mapping[str, str], digest: str) -> None:
    said = headers.get("Docker-Content-Digest", digest)
    if said != digest:
        raise repository.error(ImageSourceFailed, f"took {digest} for something else")
