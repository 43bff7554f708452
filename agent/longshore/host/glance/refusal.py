"""What Keystone and Glance say when they do not do it, in our words and, cut short, in theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from keystoneauth1 import exceptions
from requests import RequestException, Response

from longshore.errors import (
    ImageSourceDenied,
    ImageSourceFailed,
    ImageSourceUnavailable,
    LongshoreError,
)

#: Answers that mean 'later'.
LATER = frozenset({429, 500, 502, 503, 504})
_TAG = re.compile(r"<title>.*?</title>|<[^>]*>", re.DOTALL)
#: What an answer that is not Keystone's may make keystoneauth raise.
_NONSENSE = (AttributeError, KeyError, TypeError, ValueError)


class NoAnswer(Exception):
    """The connection was not made, or broke. `quick`: at once, so it may be tried again."""

    def __init__(self, service: str, why: str, *, quick: bool) -> None:
        super().__init__(why)
        self.service = service
        self.why = why
        self.quick = quick


@contextmanager
def asking(what: str, service: str, address: str) -> Iterator[None]:
    """Translates what keystoneauth raises. Its texts are not used: they may say too much.

    Raises:
        NoAnswer, ImageSourceDenied, ImageSourceFailed, ImageSourceUnavailable.
    """
    where = f"{service} ({address})"
    try:
        yield
    except exceptions.SSLError as error:
        raise ImageSourceFailed(
            f"cannot {what}: {where} has no certificate that this node trusts",
            hint="set [glance] cafile",
        ) from error
    except exceptions.ConnectTimeout as error:
        why = f"{where} does not answer in time"
        raise NoAnswer(service, why, quick=False) from error
    except exceptions.ConnectFailure as error:
        why = f"{where} does not answer: {_reason(error)}"
        raise NoAnswer(service, why, quick=True) from error
    except (exceptions.Unauthorized, exceptions.Forbidden) as error:
        # Keystone knows no such user, project or credential, or does not say which.
        raise ImageSourceDenied(
            f"cannot {what}: {where} refuses the node's credentials",
            hint="look at [glance] in the node's configuration",
        ) from error
    except exceptions.HttpError as error:
        kind = ImageSourceUnavailable if error.http_status in LATER else ImageSourceFailed
        raise kind(f"cannot {what}: {where} answers {error.http_status}") from error
    except (exceptions.ClientException, RequestException, *_NONSENSE) as error:
        raise ImageSourceFailed(f"cannot {what}: {where} gives no sensible answer") from error


def refused(what: str, response: Response, whose: str) -> LongshoreError:
    """What an answer of 300 and above means. `whose`: whose credentials Glance saw."""
    status = response.status_code
    if status == 401:
        return ImageSourceDenied(f"cannot {what}: Glance refuses {whose}")
    if status < 400:
        return ImageSourceFailed(
            f"cannot {what}: Glance sends elsewhere ({status}), which is not followed",
            hint="set [glance] endpoint_override to where it really is",
        )
    said = f"cannot {what}: Glance answers {status}{_explanation(response)}"
    if status == 403:
        return ImageSourceDenied(said)
    return ImageSourceUnavailable(said) if status in LATER else ImageSourceFailed(said)


def retry_after(response: Response) -> float:
    """Seconds that it asks to be left alone; 0 if it does not say."""
    try:
        return float(response.headers.get("Retry-After", ""))
    except ValueError:
        return 0.0


def _explanation(response: Response) -> str:
    """Glance explains in a page of HTML: its own words, short and printable."""
    try:
        page = next(response.iter_content(4096), b"").decode(errors="replace")
    except RequestException:
        return ""
    words = " ".join(_TAG.sub(" ", page).split())
    words = "".join(char for char in words if char.isprintable())[:200]
    return f": {words}" if words else ""


def _reason(error: BaseException) -> str:
    """What the kernel said, at the bottom of the chain."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        inner = [one for one in cause.args if isinstance(one, BaseException)]
        cause = cause.__cause__ or (inner[0] if inner else cause.__context__)
    return "the connection breaks off"
