"""The encoded images of a split in class folders, and the choice between these and shards."""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...prep import MANIFEST, SHARDS, LoaderError, read_manifest, read_shard_manifest
from ...prep.roots.kept_listings import open_listing
from .encoded import EncodedImage, EncodedSamples, ReadImages
from .shard_samples import ShardSamples

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

# Bytes of the buffer that a thread reads files into. Memory that is never touched costs nothing.
READ_ROOM = 1 << 24


class FolderSamples:
    """The image files of a root, which have no tiles and are decoded whole."""

    def __init__(self, root: Path, split: str) -> None:
        manifest = read_manifest(root)
        held = manifest.splits.get(split)
        if held is None or not held.per_class:
            names = ", ".join(name for name, held in manifest.splits.items() if held.per_class)
            raise LoaderError(f"{root} has no labelled split {split!r}; choose one of: {names or 'none'}")
        self._listing = open_listing(root, manifest, split)
        self._buffers = threading.local()
        self.labels = self._listing.labels

    def __len__(self) -> int:
        return len(self._listing)

    def labels_of(self, indexes: I64) -> I64:
        return self.labels[indexes]

    def windows(self) -> list[int]:
        return [len(self)]

    def in_window(self, window: int) -> I64:
        return np.arange(len(self), dtype=np.int64)

    def read(self, index: int) -> EncodedImage:
        return EncodedImage(np.fromfile(self._listing.path(index), np.uint8), None)

    def read_many(self, indexes: Sequence[int]) -> ReadImages:
        """Return many images, in 4 instead of 12 us of each: no objects of Python's files, and no new memory."""
        buffer: U8 | None = getattr(self._buffers, "buffer", None)
        if buffer is None:
            buffer = self._buffers.buffer = np.empty(READ_ROOM, np.uint8)
        starts, sizes = np.zeros(len(indexes), np.int64), np.zeros(len(indexes), np.int64)
        failures, end = dict[int, OSError](), 0
        for place, index in enumerate(indexes):
            path = self._listing.path(index)
            try:
                size = _read_into(buffer.data[end:], path)
                if size is None:  # the buffer is too small
                    needed = end + 2 * Path(path).stat().st_size
                    buffer = np.concatenate([buffer[:end], np.empty(max(needed, 2 * len(buffer)) - end, np.uint8)])
                    self._buffers.buffer = buffer
                    size = _read_into(buffer.data[end:], path) or 0
            except OSError as error:
                failures[place], size = error, 0
            starts[place], sizes[place] = end, size
            end += size
        return ReadImages(buffer, starts, sizes, failures)

    def name(self, index: int) -> str:
        return self._listing.path(index)

    def key(self, index: int) -> str:
        return Path(self._listing.path(index)).stem

    def close(self) -> None:
        self._buffers = threading.local()


def open_samples(root: Path, split: str) -> EncodedSamples:
    """Return the samples of the shards if there are finished shards of this split, else those of the class folders.

    A root of nothing but shards has no other splits. Raises LoaderError, which names its splits, for another one.
    """
    if (root / SHARDS / MANIFEST).is_file():
        only = not (root / MANIFEST).is_file()
        if only or split in read_shard_manifest(root / SHARDS).splits:
            return ShardSamples(root, split)
    return FolderSamples(root, split)


def _read_into(room: memoryview, path: str) -> int | None:
    """Read a file to the beginning of ``room``; return its size, or None if the room is full."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        end = 0
        while end < len(room):
            count = _read_some(handle, room[end:])
            if not count:
                return end
            end += count
    finally:
        os.close(handle)
    return None


def _read_some(handle: int, room: memoryview) -> int:
    if sys.platform != "win32":
        return os.readv(handle, [room])
    data = os.read(handle, len(room))
    room[: len(data)] = data
    return len(data)
