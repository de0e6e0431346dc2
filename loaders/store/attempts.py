"""Requests that are repeated: a store that is busy, or a connection that is cut, is no reason to end a training.

The wait before a repetition doubles and is multiplied by a random number, so that the processes of many nodes do not
come back all at once (exponential back-off with full jitter: M. Brooker, AWS Architecture Blog, 2015).
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ...prep.base.errors import StoreError
from ...prep.base.origins import without_credentials
from ...prep.limits.reached import limit_reached

T = TypeVar("T")

PASSING = {408, 425, 429}  # HTTP states below 500 that a repetition can change
LIBRARIES = {
    "aiohttp",
    "aiobotocore",
    "azure",
    "botocore",
    "gcsfs",
    "httpcore",
    "httpx",
    "httpx2",
    "huggingface_hub",
    "requests",
    "urllib3",
}
LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError)


class CutShort(OSError):
    """An answer has fewer bytes than were requested."""


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """How often a request is made, and how long the waits between are."""

    most: int = 12
    """With these waits, a store may be away for half a minute."""
    first_wait: float = 0.1
    """Seconds; doubled after each attempt, up to ``longest_wait``, and multiplied by a random number of 0.5 to 1."""
    longest_wait: float = 10.0

    def call(self, act: Callable[[], T], what: str, ended: threading.Event | None = None) -> T:
        """Return what ``act`` returns; repeat it after an error that can pass.

        ``what`` names the request for the message of StoreError, which is raised when nothing is left to try. Raises
        FileNotFoundError for what is not there.
        """
        for attempt in range(1, self.most + 1):
            try:
                return act()
            except FileNotFoundError:
                raise FileNotFoundError(2, "no such file", without_credentials(what)) from None
            except Exception as error:
                if not is_passing(error):
                    raise StoreError(_refused(what, error)) from None  # the cause can hold credentials
                if attempt == self.most or (ended is not None and ended.is_set()):
                    raise StoreError(_given_up(what, error, attempt)) from None
            wait = min(self.first_wait * 2 ** (attempt - 1), self.longest_wait) * random.uniform(0.5, 1)
            (ended or threading.Event()).wait(wait)
        raise AssertionError("there is at least one attempt")


def is_passing(error: Exception) -> bool:
    """Return whether a repetition can succeed: the store is busy, the network fails, or an answer is cut short."""
    status = _status(error)
    if status is not None:
        return status in PASSING or status >= 500
    if isinstance(error, LASTING) or "Credential" in type(error).__name__:
        return False
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in LIBRARIES


def reason_of(error: Exception) -> str:
    """Return what went wrong in a few words without credentials."""
    status = _status(error)
    text = without_credentials(str(error)).strip().partition("\n")[0] or type(error).__name__
    return f"HTTP status {status}" if status is not None else text


def _status(error: Exception) -> int | None:
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _refused(what: str, error: Exception) -> str:
    status, what = _status(error), without_credentials(what)
    if limit := limit_reached(error):
        return f"cannot read {what}: {limit}"
    if status in (401, 403) or isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        return (
            f"the store does not let this process read {what} ({reason_of(error)}); give its credentials in the "
            f"environment, as its own tools take them (s3: AWS_PROFILE or AWS_ACCESS_KEY_ID), and check the name"
        )
    return f"cannot read {what}: {reason_of(error)}; check the URL and what the store holds: feedline doctor URL"


def _given_up(what: str, error: Exception, attempts: int) -> str:
    if limit := limit_reached(error):
        return f"cannot read {without_credentials(what)} after {attempts} attempts: {limit}"
    return (
        f"cannot read {without_credentials(what)} after {attempts} attempts: {reason_of(error)}; "
        f"check the network and the store, then run again: what was fetched is kept"
    )
