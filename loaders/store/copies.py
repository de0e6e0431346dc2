"""``CopiedRoot``: the files of a root behind a URL, as they get into the folder of the cache and leave it."""

import threading
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from ...prep.base.documents import read_document, write_atomically
from ...prep.base.errors import StoreError
from ...prep.base.manifest import MANIFEST, SHARDS, Shard, ShardManifest
from ...prep.store.access import Store
from .cache import LOCK, cannot_write, open_cache
from .fetch import fetch_shard, read_all


class CopiedRoot:
    """The copy of a root behind a URL; an ``Origin``."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.manifest = read_document(folder / SHARDS / MANIFEST, ShardManifest)
        self._shards = {shard.name: shard for held in self.manifest.splits.values() for shard in held.shards}
        self._cache = open_cache()

    def hold(self, path: Path, ended: threading.Event | None = None) -> None:
        name, shard = self._named(path)
        if shard is not None:
            fetch_shard(self.store, self._cache, shard, path, ended)
        else:
            self._fetch({name: path})

    def hold_all(self, paths: Sequence[Path]) -> None:
        try:
            self._fetch({self._named(path)[0]: path for path in paths})
        except FileNotFoundError as error:
            raise StoreError(
                f"{error.filename} is missing, and a loader needs it; upload it again, or make it where the shards "
                f"were written, with: feedline shard --index-only FOLDER, and upload it"
            ) from error

    def _fetch(self, documents: dict[str, Path]) -> None:
        """Fetch those of the small files that are not here. Raises FileNotFoundError and StoreError."""
        absent = {name: path for name, path in documents.items() if not path.is_file()}

        def put(name: str, data: bytes) -> None:
            path = absent[name]
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(f"{path}{LOCK}", thread_local=False):
                    write_atomically(path, data)
            except OSError as error:
                raise StoreError(cannot_write(error)) from error

        read_all(self.store, list(absent), put)

    def let_go(self, path: Path) -> None:
        if self._named(path)[1] is not None:
            self._cache.release(path)

    def forget(self, path: Path) -> None:
        if self._named(path)[1] is not None:
            self._cache.forget(path)

    def renew(self, path: Path) -> bool:
        if self._named(path)[1] is not None:
            return self._cache.forget(path)
        try:
            path.unlink(missing_ok=True)
        except OSError:  # Windows keeps a file that is mapped
            return False
        return True

    def size(self, path: Path) -> int | None:
        shard = self._named(path)[1]
        return None if shard is None else shard.bytes

    def _named(self, path: Path) -> tuple[str, Shard | None]:
        name = path.relative_to(self.folder / SHARDS).as_posix()
        return name, self._shards.get(name)
