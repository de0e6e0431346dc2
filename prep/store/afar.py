"""``FarFolder``: the files below a URL under the names of a folder of this machine, in which they need not lie.

Samples of a source behind a URL are located by paths in such a folder. Images are read from the store, a range of bytes
each, and never written here. Documents, indexes and lists are fetched into the folder when they are needed, so that
they are ordinary files for the code that reads them.
"""

import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from ..base.documents import written_whole
from ..base.errors import DatasetError, StoreError
from ..base.origins import name_folder
from .access import Store
from .objects import Objects
from .urls import Url

REQUESTS = 16  # at a time for one shard that is written; an answer takes some 20 ms, an image 2 ms of a core

_known: dict[Path, "FarFolder"] = {}


class Missing(StoreError):
    """What a path names is not behind the URL."""


class FarFolder:
    """The files below ``url`` as files in ``folder``. For several threads."""

    def __init__(self, folder: Path, url: Url) -> None:
        self.folder, self.url = folder, url
        self._fetching = threading.Lock()
        self._listed: dict[str, dict[str, int]] = {}
        """{folder below the URL: {file: bytes}}."""

    @cached_property
    def store(self) -> Store:
        """The requests; made when they are needed, in the process that needs them."""
        return Store(self.url.given)

    @cached_property
    def _objects(self) -> Objects:
        return Objects(self.url)

    def read(self, path: Path, start: int, size: int) -> bytes:
        """Return ``size`` bytes of a file from ``start`` on; fewer if it is shorter. Raises DatasetError."""
        if not size:
            return b""
        try:
            data = self.store.read_range(self.name(path), start, start + size)
        except FileNotFoundError:
            raise self._missing(path) from None
        return data if len(data) <= size else data[start : start + size]  # a web server without ranges sends it all

    def list(self, below: Iterable[str]) -> None:
        """Find out which files lie below folders of the URL, for ``files_in`` and ``size``. Raises StoreError."""
        for folder in below:
            for name, size in self._objects.sizes(folder).items():
                above, _, own = name.rpartition("/")
                self._listed.setdefault(above, {})[own] = size

    def files_in(self, folder: Path) -> Iterator[tuple[str, int]]:
        """Yield the name and size of each file that lies in a folder, sorted by name; ``list`` comes before."""
        yield from sorted(self._listed.get(self.name(folder), {}).items())

    def size(self, path: Path) -> int:
        """Return the size of a file; ``list`` comes before. Raises FileNotFoundError."""
        above, _, own = self.name(path).rpartition("/")
        try:
            return self._listed.get(above, {})[own]
        except KeyError:
            raise FileNotFoundError(2, "no such file", str(path)) from None

    def fetch(self, path: Path) -> Path:
        """Return ``path``, a document that is here now. Raises DatasetError."""
        with self._fetching:
            if not path.is_file():
                self._fetch(path)
        return path

    def fetch_if_there(self, path: Path) -> bool:
        """Fetch a document if it is behind the URL; return whether it is. Raises DatasetError."""
        try:
            self.fetch(path)
        except Missing:
            return False
        return True

    def fetch_all(self, paths: Iterable[Path]) -> None:
        """Fetch documents, several at a time. Raises DatasetError."""
        with ThreadPoolExecutor(REQUESTS) as pool:
            for _ in pool.map(self._fetch, paths):
                pass

    def name(self, path: Path) -> str:
        """Return the name of a file below the URL."""
        name = path.relative_to(self.folder).as_posix()
        return "" if name == "." else name

    def _fetch(self, path: Path) -> None:
        try:
            data = self.store.read(self.name(path))
        except FileNotFoundError:
            raise self._missing(path) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with written_whole(path) as file:
                file.write(data)
        except OSError as error:
            raise DatasetError(
                f"cannot keep {path} in {self.folder.parent}: {error.strerror}; make room there, or set TMPDIR"
            ) from error

    def _missing(self, path: Path) -> "Missing":
        return Missing(f"{self.url / self.name(path)} is missing; upload it again, or check the URL")


@contextmanager
def seen_from_afar(folder: Path, url: Url) -> Generator[FarFolder]:
    """Let paths in ``folder`` name what lies below ``url``, in this process and for a block."""
    far = _known[folder] = FarFolder(folder, url)
    name_folder(folder, str(url))
    try:
        yield far
    finally:
        del _known[folder]


def far_folder_of(path: Path) -> FarFolder | None:
    """Return the folder of a URL's files that a path lies in, or None."""
    for folder, far in list(_known.items()):  # another thread may begin or end a block
        if path == folder or folder in path.parents:
            return far
    return None
