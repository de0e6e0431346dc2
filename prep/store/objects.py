"""``Objects``: writes the files below a URL, whole ones only, and says what is there.

Every protocol that is written here makes an object appear as a whole, at the end of its upload: S3 and Google with one
request or the end of a multipart upload, Azure with the list of its blocks, Hugging Face with a commit. An upload that
is cut leaves nothing under the object's name.
"""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass, replace
from functools import partial as bind
from pathlib import Path
from typing import Any, TypeVar

from ..base.errors import OutputError, StoreError
from ..base.origins import shown
from ..processes.threads import raise_if_stopped
from .access import Store, known_protocols
from .attempts import POLL, Attempts, CutShort
from .urls import Url

T = TypeVar("T")

TAGS = ("ETag", "etag", "md5Hash", "blob_id")
"""What fsspec's packages call the store's own mark of an object's content, or of its last write."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An object as its store describes it."""

    size: int
    tag: str | None = None
    """The store's mark of the object, which another content does not have; None if the store has none."""


class Objects(Store):
    """The objects below a URL, to be read and written. Many threads can use it."""

    def __init__(self, url: Url, attempts: Attempts | None = None) -> None:
        """Raises OutputError for a protocol that cannot be written, and what ``Store`` raises."""
        if url.is_web:
            written = known_protocols().replace("http://, https://, ", "")
            raise OutputError(f"{url} is on a web server, which is not written to; use one of: {written}")
        super().__init__(url.given, attempts)
        self._writes = replace(self._attempts, writing=True)

    def put(self, name: str, file: Path, stop: threading.Event | None = None) -> Stored:
        """Upload a file and return how the store describes it.

        Raises OutputError if the store refuses it, and Stopped soon after ``stop`` is set.
        """
        size = file.stat().st_size
        try:
            return self._written(bind(self._put, name, file, size, stop), self.name(name), ended=stop)
        except OutputError:
            if stop is not None:
                raise_if_stopped(stop)
            raise

    def write(self, name: str, data: bytes) -> None:
        """Write a small object. Raises OutputError."""
        self._written(lambda: self._files.pipe_file(self._path(name), data), self.name(name))

    def stored(self, name: str) -> Stored | None:
        """Return how the store describes an object, None if it is not there. Raises StoreError."""
        try:
            return self._attempts.call(bind(self._stored, name), self.name(name))
        except FileNotFoundError:
            return None

    def sizes(self, below: str = "") -> dict[str, int]:
        """Return {name: bytes} of all objects below a folder, with their folders in the names. Raises StoreError."""
        place = self._path(below)
        try:
            found: Mapping[str, Any] = self._attempts.call(bind(self._files.find, place, detail=True), self.name(below))
        except FileNotFoundError:
            return {}
        top = self._path("").strip("/") + "/"
        return {
            path.strip("/").removeprefix(top): int(about["size"])
            for path, about in found.items()
            if about.get("type") == "file" and path.strip("/").startswith(top) and not path.endswith("/")
        }

    def names(self) -> list[str]:
        """Return the names of the objects and folders directly below the URL. Raises StoreError."""
        own = self._path("").rstrip("/").rpartition("/")[2]
        try:
            return [name for name in self.list() if name not in ("", own)]
        except FileNotFoundError:
            return []

    def read_if_there(self, name: str) -> bytes | None:
        """Return a small object, None if it is not there. Raises StoreError."""
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def holds(self, name: str, expected: Stored, sha256: str) -> bool:
        """Return whether an object is the one that was written: by the store's mark, else by its content."""
        found = self.stored(name)
        if found is None or found.size != expected.size:
            return False
        if expected.tag is not None and found.tag is not None:
            return found.tag == expected.tag
        return hashlib.sha256(self.read_if_there(name) or b"").hexdigest() == sha256

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; those that are missing are no error. Raises OutputError."""
        for name in names:
            try:
                self._written(bind(self._files.rm_file, self._path(name)), self.name(name), missing_is_error=False)
            except FileNotFoundError:
                continue

    def _written(
        self, act: Callable[[], T], what: str, *, missing_is_error: bool = True, ended: threading.Event | None = None
    ) -> T:
        try:
            return self._writes.call(act, what, ended)
        except FileNotFoundError:
            if not missing_is_error:
                raise
            raise OutputError(
                f"cannot write {what}: its store has no such bucket or container; make it with the store's own tool, "
                f"or check the URL"
            ) from None
        except StoreError as error:
            raise OutputError(shown(error)) from None

    def _put(self, name: str, file: Path, size: int, stop: threading.Event | None) -> Stored:
        if self._files.async_impl:
            _until_stopped(self._files._put_file(str(file), self._path(name)), self._files.loop, stop)
        else:
            self._files.put_file(str(file), self._path(name))
        found = self._stored(name)
        if found.size != size:
            raise CutShort(f"the store has {found.size} of {size} bytes")
        return found

    def _stored(self, name: str) -> Stored:
        about: Mapping[str, Any] = self._files.info(self._path(name))
        if about.get("type") == "directory":
            raise FileNotFoundError(name)
        tag = next((str(about[key]) for key in TAGS if about.get(key)), None)
        return Stored(size=int(about["size"]), tag=tag)


def _until_stopped(request: Coroutine[Any, Any, Any], loop: Any, stop: threading.Event | None) -> None:
    """Wait for a request of fsspec's own thread, and cancel it if its result is not needed any more."""
    task = asyncio.run_coroutine_threadsafe(request, loop)
    try:
        while not wait([task], POLL).done:
            if stop is not None:
                raise_if_stopped(stop)
        task.result()
    except BaseException:
        task.cancel()
        raise
