"""Folders that hold copies of what lies behind a URL: their names in messages, and how a missing file gets there.

A root behind a URL is read through a folder of the cache, which has the documents of the root and those shards that
were fetched so far. This module is the seam between code that reads paths and the code that fetches, which is in a
floor above (``loaders.store``). For every other path, its functions do nothing.
"""

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

# Two letters at least: C:\\data is no URL.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://)(?:[^/\s'\"@]*@)?([^\s'\"?#]*)(?:[?#][^\s'\"]*)?")


class Origin(Protocol):
    """The URL of which a folder holds copies."""

    def hold(self, path: Path) -> None:
        """Fetch a file unless it is there, and keep it until it is let go. Raises FileNotFoundError, StoreError."""
        ...

    def hold_all(self, paths: Sequence[Path]) -> None:
        """Fetch small files that are not there, several at a time. Raises as ``hold`` does."""
        ...

    def let_go(self, path: Path) -> None:
        """Allow that a file is removed when the cache needs room."""
        ...

    def forget(self, path: Path) -> None:
        """Remove a shard that no process uses from the cache."""
        ...

    def renew(self, path: Path) -> None:
        """Remove the copy of any file that no process uses, so that it is fetched again when it is held."""
        ...

    def size(self, path: Path) -> int | None:
        """Return the size of a shard in bytes, fetched or not; None for another file."""
        ...


_finders: list[Callable[[Path], Origin | None]] = []
_names: dict[str, str] = {}


def use_finder(find: Callable[[Path], Origin | None]) -> None:
    """Let ``find`` say which folders have an origin."""
    _finders[:] = [find]


def origin_of(path: Path) -> Origin | None:
    """Return the origin of the copies in a folder, or of a file in it; None for all other files."""
    return _finders[0](path) if _finders else None


def hold(path: Path) -> Path:
    """Return ``path``, a file that is here and stays until it is let go. Raises what ``Origin.hold`` raises."""
    origin = origin_of(path)
    if origin is not None:
        origin.hold(path)
    return path


def let_go(path: Path) -> None:
    """Allow that a file is removed that ``hold`` returned."""
    origin = origin_of(path)
    if origin is not None:
        origin.let_go(path)


@contextmanager
def held(path: Path) -> Generator[Path]:
    """Hold a file for a block. Raises what ``Origin.hold`` raises."""
    hold(path)
    try:
        yield path
    finally:
        let_go(path)


def is_absent(path: Path) -> bool:
    """Return whether a file is behind a URL and was not fetched."""
    return origin_of(path) is not None and not path.is_file()


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, without fetching it. Raises OSError."""
    origin = origin_of(path)
    size = None if origin is None else origin.size(path)
    return path.stat().st_size if size is None else size


def name_folder(folder: Path, url: str) -> None:
    """Let messages name ``url`` in place of ``folder``."""
    _names[str(folder)] = without_credentials(url)


def shown(text: object) -> str:
    """Return a text or path with URLs in place of the folders that hold their copies."""
    found = str(text)
    for folder, url in _names.items():
        found = found.replace(folder, url)
    return found


def is_url(value: object) -> bool:
    """Return whether a value is the text of a URL."""
    return isinstance(value, str) and SCHEME.match(value.strip()) is not None


def without_credentials(text: str) -> str:
    """Return a text in which no URL has a user, a password, a query or a fragment."""
    return URL.sub(r"\1\2", text)
