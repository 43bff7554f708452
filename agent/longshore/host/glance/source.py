"""Images of Glance as lifecycle sees them: found, fetched as one archive, verified."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from longshore.errors import HostFailed, ImageNotFound, ImageSourceFailed, InvalidRequest
from longshore.host.containerd import archive, save
from longshore.host.glance import download, upload
from longshore.host.glance.api import Api, Question
from longshore.host.glance.chance import Chance
from longshore.host.glance.image import GlanceImage, is_id, only, read, usable
from longshore.host.glance.settings import Bounds, Settings
from longshore.model.reference import GLANCE
from longshore.model.transfer import Auth, Content, Credential, Watch


@dataclass(frozen=True)
class GlanceSource:
    """An image of Glance whose data are still there."""

    image: GlanceImage
    fetch: Callable[[IO[bytes], Watch], None]
    spool: Path
    limit: int

    @property
    def name(self) -> str:
        return self.image.reference

    @property
    def key(self) -> str:
        return self.image.key

    @contextmanager
    def open(self, watch: Watch) -> Iterator[Content]:
        """The data lie in a file without a name, so that nothing of them outlives the agent."""
        with self._file() as file:
            self.fetch(file, watch)
            path = Path(f"/proc/self/fd/{file.fileno()}")
            with archive.opened(
                path, spool=self.spool, limit=self.limit, check=watch.check
            ) as found:
                yield found.only()

    def _file(self) -> IO[bytes]:
        try:
            return tempfile.TemporaryFile("w+b", buffering=0, dir=self.spool)
        except OSError as error:
            raise HostFailed(
                f"cannot pull {self.name}: cannot write to {self.spool}: {error.strerror}",
                object=self.name,
            ) from error


class Glance:
    """Implements lifecycle.ports.ImageSources for `glance://` names. Thread-safe.

    Args:
        settings: where it is, and who the node is.
        bounds: of one transfer.
        spool: a folder for the data of images on their way.
        chance: time and chance.
    """

    def __init__(
        self,
        settings: Settings,
        bounds: Bounds,
        spool: Path,
        chance: Chance = Chance(),  # noqa: B008 - frozen
    ) -> None:
        self._api = Api(settings, chance)
        self._bounds = bounds
        self._spool = spool
        self._chance = chance

    def resolve(self, name: str, auth: Auth, watch: Watch | None = None) -> GlanceSource:
        """Raises InvalidRequest too: Glance has several images of this name.

        `watch`: may call it off.
        """
        what, text = f"pull {name}", name.removeprefix(GLANCE)
        credential = _token(name, auth)
        find = self._by_id if is_id(text) else self._by_name
        check = watch.check if watch is not None else _never
        image = usable(find(what, text, credential, check), what)
        wanted = download.Download(what, image, credential, self._bounds)
        return GlanceSource(
            image,
            lambda file, watch: download.fetch(self._api, wanted, file, watch, self._chance),
            self._spool,
            self._bounds.size,
        )

    def check(self, name: str, auth: Auth) -> None:
        """Raises InvalidRequest for credentials that are a registry's."""
        _token(name, auth)

    def push(self, name: str, content: Content, auth: Auth, watch: Watch) -> str:
        """Makes an image of this name; returns its id. One that has these data and this name
        already is not sent again."""
        what, text = f"push {name}", name.removeprefix(GLANCE)
        if is_id(text):
            raise InvalidRequest(
                f"cannot {what}: Glance gives ids itself, and the data of an image never change",
                object=name,
                hint=f"push it as {GLANCE}<name>",
            )
        sent = upload.Upload(
            what,
            text,
            content.candidates[0].digest,
            lambda: save.pieces({name: content}),
            _token(name, auth),
            self._bounds,
        )
        return upload.send(self._api, sent, watch, self._chance)

    def _by_id(
        self, what: str, id: str, credential: Credential | None, check: Callable[[], None]
    ) -> GlanceImage:
        missing = ImageNotFound(
            f"cannot {what}: Glance has no image of this id that the node may see, or it was "
            "deleted",
            object=f"{GLANCE}{id}",
        )
        question = Question(what, "GET", f"/images/{id.lower()}", credential, missing=missing)
        return read(self._api.ask(question, check), what)

    def _by_name(
        self, what: str, name: str, credential: Credential | None, check: Callable[[], None]
    ) -> GlanceImage:
        question = Question(what, "GET", "/images", credential, params={"name": name})
        answer = self._api.ask(question, check)
        images = answer.get("images") if isinstance(answer, dict) else None
        if not isinstance(images, list):
            raise ImageSourceFailed(f"cannot {what}: Glance's answer lists no images")
        # Some databases compare names without regard to case.
        found = [image for one in images if (image := read(one, what)).name == name]
        return only(found, f"{GLANCE}{name}", what)


def _token(name: str, auth: Auth) -> Credential | None:
    if auth.name is not None:
        raise InvalidRequest(
            f"cannot use the credential {auth.name!r} for {name}: it is for a registry",
            field="image_credential",
            object=name,
            hint="Glance is asked as [glance] says, or with a Keystone token of the request",
        )
    if auth.credential is not None and not auth.credential.token:
        raise InvalidRequest(
            f"cannot use a user and a password for {name}: Glance takes a Keystone token",
            field="credential",
            object=name,
        )
    return auth.credential


def _never() -> None:
    """Nobody calls it off."""
