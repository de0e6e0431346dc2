"""What a loader holds of a data set while it is open: the manifest is compared with it at the start of each epoch.

A loader reads the manifest, the indexes and the list of the samples once, when it is opened. If the data set is
prepared or sharded again meanwhile, the loader would go on with the samples of before, or read new files at the places
of old ones. So an epoch does not begin unless the manifest still says the same of the split. What it says of other
splits may change. The contents of shards and images are not compared; ``feedline verify`` compares them. The indexes
that a loader has mapped are compared in ``index_rows``.

Of a root behind a URL, the copy of the manifest in the cache is compared. It is fetched again only if it was removed.
"""

import os
from pathlib import Path
from typing import Any

from ...prep import MANIFEST, SHARDS, DatasetError, LoaderError, read_manifest, read_shard_manifest
from ...prep.base.origins import hold


class Held:
    """The manifest's part that a loader depends on, of the shards of a root or of its class folders."""

    def __init__(self, root: Path, split: str, *, in_shards: bool) -> None:
        """Read the manifest. Raises DatasetError."""
        self._root, self._split, self._in_shards = root, split, in_shards
        self._path = (root / SHARDS if in_shards else root) / MANIFEST
        self._identity = _identity(self._path)
        self._part = self._read_part()

    def require_unchanged(self) -> None:
        """Raise LoaderError if the manifest now says something else of the split, or cannot be read."""
        try:
            identity = _identity(self._path)
            if identity == self._identity:
                return
            part = self._read_part()
        except (OSError, DatasetError) as error:
            raise LoaderError(
                f"the manifest that this loader was opened with cannot be read any more: {error}; "
                "bring the data set back, then open the loader again"
            ) from error
        if part != self._part:
            raise LoaderError(
                f"{self._path} was written again since this loader was opened, with other data for {self._split}; "
                "open the loader again"
            )
        self._identity = identity

    def _read_part(self) -> Any:
        if self._in_shards:
            shards = read_shard_manifest(self._root / SHARDS)
            return shards.classes, shards.order, shards.seed, shards.place, shards.splits.get(self._split)
        manifest = read_manifest(self._root)
        return manifest.classes, manifest.splits.get(self._split)


def _identity(path: Path) -> tuple[int, ...]:
    """Return numbers that change whenever a file is replaced or written."""
    found = os.stat(hold(path))  # noqa: PTH116
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
