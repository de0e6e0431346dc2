"""Requests that are repeated: a store that is busy, or a connection that is cut, is no reason to end a training.

The wait before a repetition doubles and is multiplied by a random number, so that the processes of many nodes do not
come back all at once (exponential back-off with full jitter: M. Brooker, AWS Architecture Blog, 2015).
"""

import concurrent.futures.thread as threads
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from ..base.errors import StoreError
from ..base.origins import without_credentials
from ..limits.reached import limit_reached
from .credentials import next_step

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
OF_THE_NETWORK = {"HTTPClientError", "ConnectionError", "IncompleteReadError", "ChecksumError", "FlexibleChecksumError"}
"""The errors of botocore that a repetition can change; the others are of the configuration or the credentials."""
OF_CREDENTIALS = ("Credential", "Token", "Authentication", "ProfileNotFound")
"""Parts of the names of errors of credentials, of any library."""
POLL = 0.2  # seconds between two looks at whether an answer is still needed


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
    writing: bool = False
    """Whether the requests write; for messages."""

    def call(self, act: Callable[[], T], what: str, ended: threading.Event | None = None) -> T:
        """Return what ``act`` returns; repeat it after an error that can pass.

        ``what`` names the request for the message of StoreError, which is raised when nothing is left to try, or when
        ``ended`` is set or the process ends. Raises FileNotFoundError for what is not there.
        """
        for attempt in range(1, self.most + 1):
            try:
                return act()
            except StoreError:
                raise
            except FileNotFoundError:
                raise FileNotFoundError(2, "no such file", without_credentials(what)) from None
            except Exception as error:
                if _status(error) == 404:  # not every package has Python's error for it
                    raise FileNotFoundError(2, "no such file", without_credentials(what)) from None
                if not is_passing(error):
                    raise StoreError(_refused(what, error, self.writing)) from None  # the cause can hold credentials
                if attempt == self.most:
                    raise StoreError(_given_up(what, error, attempt, self.writing)) from None
            wait = min(self.first_wait * 2 ** (attempt - 1), self.longest_wait) * random.uniform(0.5, 1)
            _pause(wait, ended)
        raise AssertionError("there is at least one attempt")


def raise_if_ended(ended: threading.Event | None = None) -> None:
    """Raise StoreError if ``ended`` is set, or if the main thread has ended and waits for the threads of pools.

    Such a thread cannot see by public means that it is waited for: the main thread counts as alive until then.
    """
    if (ended is not None and ended.is_set()) or getattr(threads, "_shutdown", False):
        raise StoreError("the loader was closed, or its process ends; what was being fetched is not needed any more")


def _pause(seconds: float, ended: threading.Event | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        (ended or threading.Event()).wait(min(left, POLL))
        raise_if_ended(ended)


def is_passing(error: Exception) -> bool:
    """Return whether a repetition can succeed: the store is busy, the network fails, or an answer is cut short."""
    status = _status(error) or _status(error.__cause__)  # s3fs raises errors of Python from those of botocore
    if isinstance(error, TimeoutError):  # S3's has status 400
        return True
    if status is not None:
        return status in PASSING or status >= 500
    if isinstance(error, LASTING) or _is_of_credentials(error):
        return False
    libraries = [kind.__module__.partition(".")[0] for kind in type(error).__mro__]
    if "botocore" in libraries:
        return any(kind.__name__ in OF_THE_NETWORK for kind in type(error).__mro__)
    return isinstance(error, OSError) or libraries[0] in LIBRARIES


def reason_of(error: Exception) -> str:
    """Return what went wrong in a few words without credentials."""
    status = _status(error)
    text = without_credentials(str(error)).strip().partition("\n")[0] or type(error).__name__
    return f"HTTP status {status}" if status is not None else text


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status that an error has, or the answer in it: as attribute, or in botocore's dictionary."""
    answer: Any = getattr(error, "response", None)
    if str(error).startswith("Forbidden: "):  # gcsfs's words for it
        return 403
    if isinstance(answer, dict):
        found = [cast("dict[str, Any]", answer).get("ResponseMetadata", {}).get("HTTPStatusCode")]
    else:
        places = [(error, "status"), (error, "status_code"), (answer, "status_code")]
        if type(error).__module__.startswith("gcsfs"):
            places = [(error, "code")]
        found = [getattr(place, name, None) for place, name in places]
    states = [int(state) for state in map(str, found) if state.isdecimal()]
    return next((state for state in states if state >= 300), None)


def _is_of_credentials(error: Exception) -> bool:
    return any(part in type(error).__name__ for part in OF_CREDENTIALS)


def _refused(what: str, error: Exception, writing: bool) -> str:
    status, what, act = _status(error), without_credentials(what), "write" if writing else "read"
    if limit := limit_reached(error):
        return f"cannot {act} {what}: {limit}"
    if status in (401, 403) or isinstance(error, PermissionError) or _is_of_credentials(error):
        return f"the store does not let this process {act} {what} ({reason_of(error)}); {next_step(what)}"
    if writing:
        return f"cannot write {what}: {reason_of(error)}; check the URL, and that its store can be written"
    return f"cannot read {what}: {reason_of(error)}; check the URL and what the store holds: feedline doctor URL"


def _given_up(what: str, error: Exception, attempts: int, writing: bool) -> str:
    act, kept = ("write", "finished shards are kept") if writing else ("read", "what was fetched is kept")
    if limit := limit_reached(error):
        return f"cannot {act} {without_credentials(what)} after {attempts} attempts: {limit}"
    return (
        f"cannot {act} {without_credentials(what)} after {attempts} attempts: {reason_of(error)}; "
        f"check the network and the store, then run again: {kept}"
    )
