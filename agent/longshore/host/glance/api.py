"""One question to Glance's v2 API, with a token of Keystone.

Redirects are not followed: they would take the token along.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from keystoneauth1.exceptions import CatalogException
from keystoneauth1.identity import v3
from keystoneauth1.session import Session, TCPKeepAliveAdapter
from requests import RequestException, Response

from longshore import __version__
from longshore.errors import (
    DeadlineExceeded,
    HostBusy,
    ImageSourceFailed,
    ImageSourceUnavailable,
    LongshoreError,
)
from longshore.host.glance.chance import Chance
from longshore.host.glance.refusal import LATER, NoAnswer, asking, refused, retry_after
from longshore.host.glance.settings import Settings, versioned
from longshore.host.hangs import Hangs
from longshore.model.transfer import Credential

#: How often a question is asked whose answer was 'later', or whose connection broke.
TRIES = 3
#: Seconds before it is asked again, times a factor of chance; the most of what Retry-After gets.
PAUSE = 0.3
PAUSE_MAX = 5.0
#: Seconds for which one that did not answer is not asked again: many creates may come.
SILENCE = 30.0
#: Kept open; more would be complained of in the log.
_CONNECTIONS = 64
#: No answer about images comes near.
_ANSWER_MAX = 8 * 1024 * 1024


@dataclass(frozen=True)
class Question:
    """Args:
    what: completes 'cannot …'.
    path: below the version, such as `/images`.
    credential: whose token to use; None: the node's.
    missing: what to raise when Glance answers 404.
    stall: seconds between two pieces of data; None: it is not about data, and takes no longer
        than the settings' timeout. Data of one image may be slow where Glance is not.
    insist: also one that did not answer a moment ago is asked.
    body: JSON, or pieces of bytes; those can be sent only once.
    """

    what: str
    method: str
    path: str
    credential: Credential | None = None
    missing: LongshoreError | None = None
    stall: float | None = None
    insist: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | Iterable[bytes] | None = None

    @property
    def once(self) -> bool:
        return self.body is not None and not isinstance(self.body, Mapping)


class Api:
    """Thread-safe.

    Args:
        settings: where Glance is, and who asks.
        chance: time and chance.
    """

    def __init__(self, settings: Settings, chance: Chance) -> None:
        self._settings = settings
        self._chance = chance
        self._session = Session(
            _plugin(settings),
            verify=_trusted(settings),
            timeout=settings.timeout,
            redirect=False,
            app_name="longshore",
            app_version=__version__,
        )
        for scheme in ("http://", "https://"):
            self._session.session.mount(scheme, TCPKeepAliveAdapter(pool_maxsize=_CONNECTIONS))
        self._hangs = Hangs(4 * settings.timeout + TRIES * PAUSE_MAX)
        self._guard = threading.Lock()
        #: Service → until when it is not asked, and what happened.
        self._silent: dict[str, tuple[float, str]] = {}

    def ask(self, question: Question, check: Callable[[], None] = lambda: None) -> Any:
        """What Glance answers, as JSON; None if that is empty.

        Args:
            check: raises when the answer is not wanted any more.

        Raises:
            ImageSourceUnavailable: Keystone or Glance does not answer, or is in trouble.
            ImageSourceDenied: one of them does not know the credentials, or they may not do it.
            ImageSourceFailed: what it answers makes no sense.
        """

        def work() -> Any:
            with self.answer(question) as response:
                return _document(response, question.what)

        try:
            # Bounded as a whole: a server may send a byte now and then, for ever.
            return self._hangs.run(question.what, "Glance", work, check=check)
        except (DeadlineExceeded, HostBusy) as error:
            raise ImageSourceUnavailable(
                f"cannot {question.what}: Keystone or Glance does not answer in time"
            ) from error

    @contextmanager
    def answer(self, question: Question) -> Iterator[Response]:
        """An answer below 300 whose body is still to be read. Raises like `ask`."""
        response = self._patient(question)
        try:
            yield response
        finally:
            response.close()

    def _patient(self, question: Question) -> Response:
        what = question.what
        for left in reversed(range(1 if question.once else TRIES)):
            pause = PAUSE
            try:
                response = self._authorized(question)
            except NoAnswer as error:
                if not left or not error.quick:
                    if question.stall is None:
                        self._note(error)
                    raise ImageSourceUnavailable(f"cannot {what}: {error.why}") from error
            else:
                if response.status_code < 300:
                    return response
                with response:
                    if response.status_code == 404 and question.missing is not None:
                        raise question.missing
                    if response.status_code not in LATER or not left:
                        whose = "the request's token" if question.credential else "the node's token"
                        raise refused(what, response, whose)
                    pause = min(max(PAUSE, retry_after(response)), PAUSE_MAX)
            self._chance.pause(pause)
        raise AssertionError("the last try returns or raises")

    def _authorized(self, question: Question) -> Response:
        """A token that Glance does not know any more is renewed, once."""
        response = self._send(question)
        if response.status_code == 401 and not question.credential and not question.once:
            response.close()
            self._session.invalidate()
            response = self._send(question)
        return response

    def _send(self, question: Question) -> Response:
        timeout = self._settings.timeout
        endpoint, token = self._access(question)
        json_body = question.body if isinstance(question.body, Mapping) else None
        self._not_silent(question, "Glance")
        with asking(question.what, "Glance", endpoint):
            response: Response = self._session.request(
                f"{endpoint}{question.path}",
                question.method,
                json=json_body,
                data=question.body if question.once else None,
                params=dict(question.params),
                headers={**question.headers, "X-Auth-Token": token},
                authenticated=False,
                raise_exc=False,
                log=False,
                stream=True,
                # urllib3 bounds sending by the first one.
                timeout=(
                    question.stall or timeout if question.once else timeout,
                    question.stall or timeout,
                ),
            )
        self._answered("Glance")
        return response

    def _access(self, question: Question) -> tuple[str, str]:
        """Glance's address, and a token."""
        settings, what = self._settings, question.what
        endpoint, token = settings.endpoint, None
        if question.credential:
            token = question.credential.token
        if endpoint is None or token is None:
            self._not_silent(question, "Keystone")
            with asking(what, "Keystone", settings.auth_url):
                token = token or self._session.get_token()
                endpoint = endpoint or self._in_catalogue()
            self._answered("Keystone")
        if not endpoint or not token:
            region = f", region {settings.region}" if settings.region else ""
            raise ImageSourceFailed(
                f"cannot {what}: Keystone's catalogue has no image service "
                f"({' or '.join(settings.interfaces)} endpoint{region})",
                hint="set [glance] endpoint_override, region_name or valid_interfaces",
            )
        return versioned(endpoint, "v2"), token

    def _in_catalogue(self) -> str | None:
        try:
            endpoint: str | None = self._session.get_endpoint(
                service_type="image",
                interface=list(self._settings.interfaces),
                region_name=self._settings.region,
                skip_discovery=True,
            )
        except CatalogException:
            return None
        return endpoint

    def _note(self, error: NoAnswer) -> None:
        with self._guard:
            self._silent[error.service] = (self._chance.now() + SILENCE, error.why)

    def _answered(self, service: str) -> None:
        with self._guard:
            self._silent.pop(service, None)

    def _not_silent(self, question: Question, service: str) -> None:
        with self._guard:
            until, why = self._silent.get(service, (0.0, ""))
        if why and self._chance.now() < until and not question.insist:
            raise ImageSourceUnavailable(
                f"cannot {question.what}: {why} (not asked again for a while)"
            )


def _plugin(settings: Settings) -> v3.Auth:
    login = settings.login
    if login.id:
        return v3.ApplicationCredential(
            settings.auth_url, login.secret, application_credential_id=login.id
        )
    return v3.Password(
        settings.auth_url,
        login.secret,
        username=login.username,
        user_domain_name=login.user_domain_name,
        project_name=login.project_name,
        project_domain_name=login.project_domain_name,
    )


def _trusted(settings: Settings) -> str | bool:
    """The node's own authorities; requests would take a list that comes with it."""
    if settings.cafile:
        return str(settings.cafile)
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def _document(response: Response, what: str) -> Any:
    data = bytearray()
    try:
        for piece in response.iter_content(65536):
            data += piece
            if len(data) > _ANSWER_MAX:
                raise ImageSourceFailed(f"cannot {what}: Glance's answer is too large")
        return json.loads(data) if data else None
    except RequestException as error:
        raise ImageSourceUnavailable(f"cannot {what}: Glance's answer breaks off") from error
    except (ValueError, RecursionError) as error:
        raise ImageSourceFailed(f"cannot {what}: Glance's answer is not JSON") from error
