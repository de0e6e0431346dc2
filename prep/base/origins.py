"""Folders that hold copies of what lies behind a URL: their names in messages, and how a missing file gets there.

A root behind a URL is read through a folder of the cache, which has the documents of the root and those shards that
were fetched so far. This module is the seam between code that reads paths and the code that fetches, which is in a
floor above (``loaders.store``). For every other path, its functions do nothing.
"""

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Protocol
from urllib.request import url2pathname

# Two letters at least: C:\\data is no URL.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
URL = re.compile(rf"{SCHEME.pattern}([^\s'\"]*)")  # in a text


class Origin(Protocol):
    """The URL of which a folder holds copies."""

    def hold(self, path: Path, ended: Event | None = None) -> None:
        """Fetch a file unless it is there, and keep it until it is let go.

        ``ended`` is set if no caller needs the file any more. Raises FileNotFoundError for an index or columns that
        are not behind the URL, else StoreError.
        """
        ...

    def hold_all(self, paths: Sequence[Path]) -> None:
        """Fetch indexes or columns that are not there, several at a time. Raises StoreError."""
        ...

    def let_go(self, path: Path) -> None:
        """Allow that a file is removed when the cache needs room."""
        ...

    def forget(self, path: Path) -> None:
        """Remove a shard that no process uses from the cache."""
        ...

    def renew(self, path: Path) -> bool:
        """Remove the copy of any file, so that it is fetched again when it is held; return whether it is gone.

        A shard that a process uses stays.
        """
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


def hold(path: Path, ended: Event | None = None) -> Path:
    """Return ``path``, a file that is here and stays until it is let go. Raises what ``Origin.hold`` raises."""
    origin = origin_of(path)
    if origin is not None:
        origin.hold(path, ended)
    return path


def let_go(path: Path) -> None:
    """Allow that a file is removed that ``hold`` returned."""
    origin = origin_of(path)
    if origin is not None:
        origin.let_go(path)


@contextmanager
def held(path: Path, ended: Event | None = None) -> Generator[Path]:
    """Hold a file for a block. Raises what ``Origin.hold`` raises."""
    hold(path, ended)
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
    _names[str(folder)] = plain_url(url)


def shown(text: object) -> str:
    """Return a text or path with URLs in place of the folders that hold their copies."""
    found = str(text)
    for folder, url in list(_names.items()):  # another thread may add one
        found = found.replace(folder, url)
    return found


def is_url(value: object) -> bool:
    """Return whether a value is the text of a URL."""
    return isinstance(value, str) and SCHEME.match(value.strip()) is not None


def folder_of(url: str) -> Path | None:
    """Return the folder of this machine that a file:// URL names, None for another URL."""
    found = re.fullmatch(r"\s*file://(?:localhost)?(.*?)\s*", url, re.IGNORECASE | re.DOTALL)
    return Path(url2pathname(found[1])) if found else None


def plain_url(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{re.split('[?#]', rest[len(credentials_in(url)) :])[0]}"


def credentials_in(url: str) -> str:
    """Return the user and password of a URL with the @ after them, or "".

    They end at the last @ of the host, or of all if it is not clear where the host ends.
    """
    rest = url.partition("://")[2]
    end = len(rest) if is_ambiguous(url) else len(_host(rest))
    return rest[: rest.rfind("@", 0, end) + 1]


def is_ambiguous(url: str) -> bool:
    """Return whether an @ of a URL may end a password with a /, ? or #, or be part of the path or query."""
    rest = url.partition("://")[2]
    host = _host(rest)
    after = rest[len(host) :]
    if re.fullmatch("[^:@]+:[0-9]*", host):  # a port: the query has no password
        after = re.split("[?#]", after)[0]
    return ":" in host and "@" in after


def _host(rest: str) -> str:
    return re.split("[/?#]", rest)[0]


def without_credentials(text: str) -> str:
    """Return a text in which no URL has a user, a password, a query or a fragment."""
    return URL.sub(lambda match: plain_url(match[0]), text)
