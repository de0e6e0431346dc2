"""``Store``: reads the files below a URL, through fsspec, with repeated requests. Many threads can read.

fsspec has one interface for all stores, and its packages speak their protocols: s3fs, gcsfs, adlfs, huggingface_hub,
and aiohttp for HTTP. They take credentials from the environment and the configuration files of the store's own tools.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import wait
from functools import cache, partial
from typing import Any
from urllib.parse import quote

from ..base.errors import StoreError
from ..base.origins import SCHEME, plain_url, without_credentials
from ..limits.reached import limit_reached
from .attempts import POLL, Attempts, CutShort, raise_if_ended
from .credentials import next_step

PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}
"""The protocols of roots, and the package that each needs."""
OWN = {"skip_instance_cache": True}  # fsspec's cached object keeps the credentials that were in the environment once
CONNECT_SECONDS, SILENT_SECONDS = 10, 30  # a connection that takes longer, or has sent nothing for so long, is given up
ATTEMPTS = {"gs": 3, "az": 2}
"""Attempts by packages that repeat a request themselves: without an answer each takes 34 s (gcsfs) or 85 s (adlfs)."""
CONNECTIONS = 64  # to S3 at a time; botocore's own limit is 10, and a request for one image waits for its answer


class Store:
    """The files below a URL."""

    def __init__(self, url: str, attempts: Attempts | None = None) -> None:
        """Raises StoreError for a protocol that is unknown, or whose package is not installed."""
        self.url = plain_url(url)
        """The URL without credentials."""
        self._web = protocol_of(url) in ("http", "https")
        address, _, self._query = url.partition("?")
        self._address = (address if self._web else self.url).rstrip("/")
        self.serves_ranges = False
        """Whether the store has answered a request for a range with that range."""
        self._attempts = attempts or Attempts(most=ATTEMPTS.get(protocol_of(url), Attempts.most))
        self._files = _file_system(url)

    def read(self, name: str, ended: threading.Event | None = None) -> bytes:
        """Return a whole file. Raises as ``read_range`` does."""
        return self._attempts.call(partial(self._get, name, None, ended), self.name(name), ended)

    def read_range(self, name: str, start: int, stop: int, ended: threading.Event | None = None) -> bytes:
        """Return the bytes from ``start`` to ``stop``, or the whole file if the store does not serve ranges.

        ``ended`` is set if no caller waits for the answer any more. Raises FileNotFoundError and StoreError.
        """
        what = f"bytes {start} to {stop} of {self.name(name)}"
        return self._attempts.call(partial(self._get, name, (start, stop), ended), what, ended)

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, None if the store does not say. Raises as ``read`` does."""
        return self._attempts.call(lambda: self._files.info(self._path(name)).get("size"), self.name(name))

    def list(self) -> list[str]:
        """Return the names of the files and folders directly below the URL. Raises as ``read`` does."""
        found = self._attempts.call(lambda: self._files.ls(self._path(""), detail=False), self.url)
        return sorted(str(entry).rstrip("/").rpartition("/")[2] for entry in found)

    def name(self, name: str) -> str:
        """Return the URL of a file, for messages."""
        return f"{self.url.rstrip('/')}/{name}" if name else self.url

    def _get(self, name: str, bounds: tuple[int, int] | None, ended: threading.Event | None) -> bytes:
        path, (start, stop) = self._path(name), bounds or (None, None)
        if self._files.async_impl:
            data = self._answer(self._files._cat_file(path, start=start, end=stop), ended)
        else:
            data = self._files.cat_file(path, start=start, end=stop)
        if bounds is not None and len(data) < bounds[1] - bounds[0]:
            raise CutShort(f"the answer has {len(data)} of {bounds[1] - bounds[0]} bytes")
        return data

    def _answer(self, request: Coroutine[Any, Any, bytes], ended: threading.Event | None) -> bytes:
        """Wait for a request, and cancel it if its answer is not needed any more."""
        task = asyncio.run_coroutine_threadsafe(request, self._files.loop)
        try:
            while not wait([task], POLL).done:
                raise_if_ended(ended)
        except BaseException:
            task.cancel()
            raise
        return task.result()

    def _path(self, name: str) -> str:
        """Return how fsspec names a file."""
        address = f"{self._address}/{quote(name) if self._web else name}" if name else self._address
        if self._web:
            return f"{address}?{self._query}" if self._query else address
        return self._files._strip_protocol(address)


def known_protocols() -> str:
    """Return the protocols that a root can have, for messages."""
    return ", ".join(f"{name}://" for name in [*PACKAGES, "file"] if name != "memory")


def protocol_of(url: str) -> str:
    """Return the protocol of a URL, in lower case."""
    match = SCHEME.match(url)
    return match[1].lower() if match else ""


def _file_system(url: str) -> Any:
    protocol = protocol_of(url)
    if protocol not in PACKAGES:
        raise StoreError(f"{plain_url(url)} has an unknown protocol; use one of: {known_protocols()}")
    try:
        import fsspec

        _watch_forks()
        if "http" in protocol:
            import aiohttp

            return fsspec.filesystem(protocol, encoded=True, client_kwargs=_web_options(aiohttp), **OWN)
        if protocol == "gs":
            return _google(use_listings_cache=False, **OWN)
        if protocol == "s3":
            files = fsspec.filesystem(protocol, use_listings_cache=False, **_s3_options(), **OWN)
            files.retries = 1  # as in _s3_options
            return files
        return fsspec.filesystem(protocol, use_listings_cache=False, **OWN)
    except ImportError as error:
        raise StoreError(
            f"{plain_url(url)} needs {PACKAGES[protocol]}, which is not installed; "
            f"install it with: pip install 'feedline[store]' (or pip install {PACKAGES[protocol]})"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # adlfs looks for credentials at once; the cause can hold them
        if limit := limit_reached(error) or limit_reached(error.__cause__ or error):
            raise StoreError(f"{plain_url(url)} cannot be opened: {limit}") from None
        reason = without_credentials(str(error)).partition("\n")[0]
        raise StoreError(f"{plain_url(url)} cannot be opened: {reason}; {next_step(url)}") from None


@cache
def _watch_forks() -> None:
    """Let fsspec start a thread of its own in forked processes, which its versions before 2025 do not by themselves."""
    from fsspec.asyn import reset_lock

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset_lock)


def _web_options(aiohttp: Any) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    return {"timeout": timeout, "trust_env": True}


def _s3_options() -> dict[str, Any]:
    """Return s3fs's options: requests are repeated here, not in botocore."""
    return {
        "config_kwargs": {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": SILENT_SECONDS,
            "retries": {"max_attempts": 1},
            "max_pool_connections": CONNECTIONS,
        }
    }


def _google(**options: Any) -> Any:
    """Return gcsfs's file system without its support of zonal buckets, unless the user's environment asks for it.

    For that it asks about each bucket by gRPC, which forked processes cannot use. A server that does not speak gRPC,
    such as an emulator, delays the first request to each bucket by more than a minute.
    """
    import gcsfs.core

    log = logging.getLogger("gcsfs")
    if log.level == logging.NOTSET:  # it writes a traceback for each error that it raises
        log.setLevel(logging.CRITICAL)
    asked = os.environ.get("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "").lower() in ("true", "1")
    return (gcsfs if asked else gcsfs.core).GCSFileSystem(**options)
