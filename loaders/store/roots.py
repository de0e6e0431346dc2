"""Roots behind URLs as paths: ``root_of`` turns a URL into the folder of the cache that holds the copy of the root.

The folder's name is made from the URL, so ``root_of`` needs no network. ``open_root`` fetches the manifest of the
shards. Everything else follows when it is needed: indexes and columns, and each shard when a loader reads it. The
manifest has the sha256 of each shard. If another manifest is behind the URL than before, the copy is begun again.

User, password and query of a URL are credentials. They are kept in the environment of this process and of those that
it starts, and are never written. All else names a root by its URL without them.
"""

import os
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from filelock import FileLock
from pydantic import PlainSerializer, PlainValidator

from ...prep.base.documents import write_atomically
from ...prep.base.errors import StoreError
from ...prep.base.manifest import MANIFEST, SHARDS, ShardManifest
from ...prep.base.origins import SCHEME, folder_of, is_url, name_folder, plain_url, shown, use_finder
from ...prep.store.access import PACKAGES, Store, known_protocols, protocol_of
from ...prep.store.urls import SAFE, require_usable
from .cache import LOCK, cache_folder, cannot_write, open_cache
from .copies import CopiedRoot

ORIGIN = "origin.txt"
"""The file in a copy that holds its URL."""
SECRET = "FEEDLINE_STORE_"
"""Where a URL with credentials is kept in the environment: this and the name of the copy's folder."""


def root_of(value: Any) -> Any:
    """Return the path of a root: that of its copy for a URL, a Path for a path; anything else as it is.

    A URL may name the root or its folder of shards. Raises StoreError for a protocol that feedline does not have.
    """
    text = _mended(value)
    if not is_url(text):
        return Path(value) if isinstance(value, (str, os.PathLike)) and str(value) else value
    protocol = protocol_of(text)
    if (folder := folder_of(text)) is not None:
        return folder
    if protocol not in PACKAGES:
        raise StoreError(f"{plain_url(text)} has an unknown protocol; use one of: {known_protocols()}")
    require_usable(text)
    address, mark, query = text.partition("?") if protocol in ("http", "https") else (text, "", "")
    address = f"{protocol}://{address.partition('://')[2].rstrip('/')}"
    if address.endswith(f"/{SHARDS}") and not address.endswith(f"//{SHARDS}"):
        address = address.removesuffix(SHARDS).rstrip("/")
    plain = plain_url(address)
    folder = cache_folder() / "roots" / _folder_name(plain)
    name_folder(folder, plain)
    if address + mark + query != plain:
        os.environ[SECRET + folder.name] = address + mark + query
    return folder


def root_text(root: Path) -> str:
    """Return how documents and messages name a root: a URL without credentials, or a path."""
    return shown(root)


def _read_root(value: object) -> Path:
    """Return the root that a document names."""
    if not _is_text(value) or not str(value):
        raise ValueError(f"{value!r} is no path")
    return root_of(value)


Root = Annotated[Path, PlainValidator(_read_root), PlainSerializer(root_text, return_type=str)]
"""A root in a document: a path, or a URL."""


def given_root(value: Any) -> Any:
    """Return ``root_of(value)``, whose manifest is fetched if the user gave a URL. Raises as ``open_root`` does.

    A copy's own path, such as that of a document that was read, needs no network until it is used.
    """
    root = root_of(value)
    return open_root(root, fresh=True) if isinstance(root, Path) and root != value else root


def has_credentials(root: Path) -> bool:
    """Return whether the URL of a root was given with credentials."""
    return SECRET + root.name in os.environ


def open_root(root: Path, *, fresh: bool = False) -> Path:
    """Return ``root``; if it is the copy of one behind a URL, its manifest is fetched.

    This is done once per process, and each time with ``fresh``. Raises StoreError if there is none, or
    the store cannot be read.
    """
    url = _url_of(root)
    if url is not None:
        _opened(root, url, fresh=fresh)
    return root


def find_origin(path: Path) -> CopiedRoot | None:
    """Return the copy that a file or folder belongs to, or None."""
    folder = _copy_above(path if path.name == SHARDS else path.parent, cache_folder() / "roots")
    url = None if folder is None else _url_of(folder)
    return None if folder is None or url is None else _opened(folder, url)


use_finder(find_origin)
_copies: dict[tuple[Path, str, int], CopiedRoot] = {}
"""The open copies by folder, URL and process: a forked process needs connections of its own."""


@cache
def _copy_above(folder: Path, roots: Path) -> Path | None:
    if not folder.is_relative_to(roots) or folder == roots:
        return None
    return roots / folder.relative_to(roots).parts[0]


def _opened(folder: Path, url: str, *, fresh: bool = False) -> CopiedRoot:
    """Return the copy in a folder. If it is new or ``fresh``, it is compared with the manifest behind the URL."""
    key = folder, url, os.getpid()
    if key not in _copies or fresh:
        store, data = _shards_of(url)
        try:
            found = _put_manifest(folder, url, store, data)
        except OSError as error:
            raise StoreError(cannot_write(error)) from error
        name_folder(folder, url)
        if found or key not in _copies:
            _copies[key] = CopiedRoot(folder, store)
    return _copies[key]


def _put_manifest(folder: Path, url: str, store: Store, data: bytes) -> bool:
    """Begin the copy, or begin it again if it has another manifest; return whether this was necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / SHARDS / MANIFEST
    with FileLock(folder.with_suffix(LOCK), thread_local=False):
        if place.is_file() and place.read_bytes() == data:
            return False
        _check(data, store)
        _begin_again(folder, url)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / ORIGIN, plain_url(url).encode())
        write_atomically(place, data)
    return True


def _shards_of(url: str) -> tuple[Store, bytes]:
    """Return the store of the shards, and their manifest. Raises StoreError."""
    address, mark, query = url.partition("?")
    store = Store(f"{address}/{SHARDS}{mark}{query}")
    try:
        return store, store.read(MANIFEST)
    except FileNotFoundError:
        pass
    above = Store(url)
    try:
        data = above.read(MANIFEST)
    except FileNotFoundError:
        raise StoreError(
            f"{above.url} has no {SHARDS}/{MANIFEST}; check the URL, or upload a root whose shards are written: "
            f"feedline shard ROOT, then copy ROOT/{SHARDS} to {above.url}/{SHARDS}"
        ) from None
    if b'"feedline-shards"' in data[:200]:
        return above, data
    raise StoreError(
        f"{above.url} has class folders and no shards, and one request for each image is too slow; "
        f"write shards with: feedline shard ROOT, then copy ROOT/{SHARDS} to {above.url}/{SHARDS}"
    )


def _check(data: bytes, store: Store) -> None:
    """Raise StoreError for what is no manifest of shards that lie next to it."""
    from pydantic import TypeAdapter, ValidationError

    try:
        manifest = TypeAdapter(ShardManifest).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise StoreError(
            f"{store.name(MANIFEST)} is not a manifest of shards: {first['msg']}; upload the shards again, with it"
        ) from None
    if manifest.place is not None:
        raise StoreError(
            f"{store.name(MANIFEST)} lists shards that lie elsewhere ({manifest.place}), which cannot be fetched; "
            f"upload the folder of the shards, with indexes made there: feedline shard --index-only FOLDER"
        )


def _begin_again(folder: Path, url: str) -> None:
    """Remove a copy of other shards. Raises StoreError if a process reads or fetches them, and OSError."""
    if not open_cache().remove_root(folder):
        raise StoreError(
            f"the shards behind {plain_url(url)} were replaced while a process reads the old ones; "
            f"wait until it ends, or use another cache with FEEDLINE_CACHE=FOLDER"
        )


def _url_of(folder: Path) -> str | None:
    """Return the URL of a copy, with credentials if this process has them; None for another folder."""
    if folder.parent != cache_folder() / "roots":
        return None
    secret = os.environ.get(SECRET + folder.name)
    if secret:
        return secret
    name = shown(folder)
    if is_url(name):
        return name
    try:
        return (folder / ORIGIN).read_text("utf-8")
    except OSError:
        return None


def _folder_name(url: str) -> str:
    """Return the name of a copy's folder: readable, plain on every system, and another one for another URL."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", SCHEME.sub("", url)).strip("-")
    return f"{words[-40:].strip('-')}-{sha256(url.encode()).hexdigest()[:12]}"


def _mended(value: Any) -> str:
    """Return the text of a path or URL; pathlib turns ``s3://bucket`` into ``s3:/bucket``. A web address is encoded."""
    text = (Path(value).as_posix() if isinstance(value, os.PathLike) else value) if _is_text(value) else ""
    match = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/+", text)
    if match is None or match[1].lower() not in (*PACKAGES, "file"):
        return text
    url = f"{match[1].lower()}://{'/' * (match[0].count('/') - 2)}{text[match.end() :].strip()}"
    return quote(url, safe=SAFE) if url.startswith("http") else url


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))
