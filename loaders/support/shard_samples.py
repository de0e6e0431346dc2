"""The encoded images of a split in shards, through their indexes.

Shards and their indexes are mapped, not read. The page cache is the only copy, which the threads of a process and the
ranks of a machine share. The order of the samples is mapped from a file too (``prep.shards.kept_orders``), so opening
100 million samples takes a rank as much memory as opening a thousand of as many shards.

Touched pages count as memory of the process, which on a large data set is all of it in the end. So they are released
repeatedly. Mapping a page again that is still in the page cache costs almost nothing. A mapping holds no open file, so
the number of shards is not limited by the number of files that a process may open.

A shard that is cut or cannot be read any more while it is mapped raises a bus error, which ``bus_errors`` catches.
From then on the shards are read and not mapped, so that each sample that is lost is an error of its own.
"""

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...prep import SHARDS, LoaderError
from ...prep.base.mapping import MappedFile
from ...prep.base.origins import held, hold, is_absent, let_go, origin_of, shown
from ...prep.images.tiles import Tiles
from ...prep.roots.places import shard_path
from ...prep.shards.current import current_shards, require_labels
from ...prep.shards.index import index_path
from ...prep.shards.kept_orders import ShardOrder
from ..store.ahead import ReadAhead, window_of
from . import bus_errors
from .encoded import EncodedImage, Located
from .index_rows import MOST_MAPPED, IndexRows

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

# Bytes of images between two releases of the mapped pages. Mapping an image of 110 kB again takes two or three
# faults, some microseconds, because Linux maps 16 pages around each.
LET_GO = 64_000_000
# Releases of images' pages for one of the indexes' and the order's: a row is small, and a fault maps 64 KB around it.
INDEXES_LET_GO = 16


class ShardSamples:
    """The images of ``ROOT/shards``, read through the index files."""

    def __init__(self, root: Path, split: str) -> None:
        directory = root / SHARDS
        manifest = current_shards(root)
        held = manifest.splits.get(split)
        if held is None:
            raise LoaderError(f"{directory} has no split {split!r}; choose one of: {', '.join(manifest.splits)}")
        require_labels(root, manifest, split)
        self._paths = [shard_path(directory, manifest, shard) for shard in held.shards]
        self._sizes = [shard.bytes for shard in held.shards]
        self._origin = origin_of(directory)
        homes = [directory / shard.name for shard in held.shards]
        if self._origin is not None:
            self._origin.hold_all([index_path(home) for home in homes])
        self._counts = [shard.samples for shard in held.shards]
        self._rows = IndexRows(homes, self._paths, self._counts)
        self._order = ShardOrder(held.samples, manifest.order, manifest.seed)
        self._maps: dict[int, MappedFile] = {}
        self._ended: threading.Event | None = None
        """Set when the newest epoch has ended for which shards are fetched."""
        self._mapping = threading.Lock()
        self._is_caught, self._bus_errors = bus_errors.catch(), bus_errors.count()
        self._touched, self._touched_shards = 0, set[int]()
        self._touched_indexes, self._releases = set[int](), 0
        self._labels: I64 | None = None

    def __len__(self) -> int:
        return len(self._order)

    @property
    def labels(self) -> I64:
        if self._labels is None:
            found, first = np.empty(len(self), np.int64), 0
            for labels in self._rows.labels():
                found[self._order.indexes(first, first + len(labels))] = labels
                first += len(labels)
            self._labels = found
        return self._labels

    def labels_of(self, indexes: I64) -> I64:
        bus_errors.catch()
        return self._rows.gather(self._order.places(indexes)).rows["label"].astype(np.int64)

    def windows(self) -> list[int]:
        return self._counts

    def in_window(self, window: int) -> I64:
        places = self._rows.places_of(window)
        return self._order.indexes(places.start, places.stop)

    def read(self, index: int) -> EncodedImage:
        bus_errors.catch()
        if self.lost:  # perhaps not a shard but its index, or the order
            self._order.require_readable(index)
        place = self._order.place(index)
        shard = self._rows.shard_of(place)
        if self.lost:
            self._rows.require_unchanged(shard)
        held, row = self._rows.row(place)
        _, offset, size, _, width, height, mcu_width, mcu_height, interval, scan, first, rows = row.item()
        if self.lost:  # without tiles, whose lengths are mapped too
            return EncodedImage(self._read_unmapped(shard, offset, size), None)
        self._count_touched([shard], size)
        data = self._mapped(shard).data[offset : offset + size]
        if not interval:
            return EncodedImage(data, None)
        lengths = held.row_lengths[first : first + rows]
        return EncodedImage(data, Tiles(scan, lengths, width, height, mcu_width, mcu_height, interval))

    def locate(self, indexes: I64) -> Located:
        """Return where many images lie, in a tenth of the time that reading them takes.

        Raises OSError, and DatasetError for an index that was written again and leads outside its shard.
        """
        bus_errors.catch()
        found = self._rows.gather(self._order.places(indexes))
        mapped = [self._mapped(shard) for shard in found.shards]
        held = np.array([(shard.address, len(shard.data)) for shard in mapped], np.int64).reshape(-1, 2)[found.which]
        offsets = found.rows["offset"].astype(np.int64)
        outside = (offsets < 0) | (offsets > held[:, 1] - found.rows["size"])
        if outside.any():
            raise self._rows.outside(found.shards[found.which[outside.argmax()]])
        return Located(held[:, 0] + offsets, found.lengths, found.rows, [*mapped, found.holds])

    def _mapped(self, shard: int) -> MappedFile:
        """Return a mapped shard. The caller's reference keeps it mapped when the cache drops it. Raises OSError."""
        source = self._maps.get(shard)
        if source is not None and not self._is_caught and not is_absent(self._paths[shard]):
            self._require_whole(shard, self._paths[shard].stat().st_size)  # a cut while decoding ends the process there
        if source is None:
            # A mapping keeps the data of a fetched shard even if the cache removes it; the shards of an epoch are kept.
            with held(self._paths[shard], self._unless_ended()), self._mapping:
                source = self._maps.get(shard)
                if source is None:
                    if len(self._maps) >= MOST_MAPPED:  # in random order, the oldest is as good a choice as any
                        del self._maps[next(iter(self._maps))]
                    source = MappedFile(self._paths[shard])
                    self._require_whole(shard, len(source.data))
                    self._maps[shard] = source
        return source

    def require_unchanged(self) -> None:
        """Raise LoaderError if an index was written again, with other rows, since it was mapped."""
        self._rows.require_unchanged()

    @property
    def lost(self) -> bool:
        return bus_errors.count() != self._bus_errors

    def _read_unmapped(self, shard: int, offset: int, size: int) -> U8:
        with held(self._paths[shard], self._unless_ended()) as path, path.open("rb") as file:
            self._require_whole(shard, os.fstat(file.fileno()).st_size)
            file.seek(offset)
            return np.frombuffer(file.read(size), np.uint8)

    def _require_whole(self, shard: int, size: int) -> None:
        """Raise OSError for a shard of another size than its manifest lists."""
        if size != self._sizes[shard]:
            raise OSError(
                f"its shard has {size} bytes instead of the {self._sizes[shard]} that its manifest lists, "
                "so it was cut or written again"
            )

    @property
    def window(self) -> int:
        """How many shards to read at a time, because they are fetched from a URL; 0 for no limit."""
        return 0 if self._origin is None else window_of(self._sizes)

    def read_ahead(self, blocks: Callable[[], Iterable[I64]]) -> ReadAhead | None:
        """Begin to fetch the shards of samples in this order; return None if all shards are here.

        ``blocks`` returns their indexes in blocks, and is not called if all shards are here.
        """
        if self._origin is None:
            return None
        shards = (self._rows.shards_of(self._order.places(indexes)) for indexes in blocks())
        ahead = ReadAhead(shards, self._sizes, self._hold, self._let_go)
        self._ended = ahead.ended
        return ahead

    def _hold(self, shard: int, ended: threading.Event) -> None:
        """Fetch a shard unless it is here, and keep it. Raises StoreError."""
        hold(self._paths[shard], ended)

    def _unless_ended(self) -> threading.Event | None:
        """Return what ends the waiting of a thread that reads for an epoch; other callers wait as long as it takes."""
        return None if self._ended is None or self._ended.is_set() else self._ended

    def _let_go(self, shard: int) -> None:
        """Allow that a fetched shard is removed from the cache."""
        with self._mapping:
            self._maps.pop(shard, None)
        let_go(self._paths[shard])

    def count_touched(self, indexes: I64, size: int) -> None:
        self._count_touched(self._rows.shards_of(self._order.places(indexes)).tolist(), size)

    def _count_touched(self, touched_shards: list[int], size: int) -> None:
        """Release the mapped pages of the shards that were used, after enough bytes of them were touched."""
        self._touched += size  # an approximate sum: threads may overwrite each other's
        if self._touched > LET_GO:
            self._touched = 0
            touched, self._touched_shards = self._touched_shards, set()
            shards = list(touched)
            with self._mapping:
                held = [found for shard in shards if (found := self._maps.get(shard))]
            for mapped in held:
                mapped.let_go()
            self._touched_indexes.update(shards)
            self._releases += 1
            if self._releases % INDEXES_LET_GO == 0:
                indexes, self._touched_indexes = self._touched_indexes, set()
                self._rows.let_go(list(indexes))
                self._order.let_go()
        # Noted last, for the next release: an image that is read one by one is touched after this call.
        self._touched_shards.update(touched_shards)

    def name(self, index: int) -> str:
        return f"{self.key(index)} in {shown(self._paths[self._rows.shard_of(self._order.place(index))])}"

    def key(self, index: int) -> str:
        return self._rows.key(self._order.place(index))

    def close(self) -> None:
        # A mapping ends with the last array that views it.
        self._maps = {}
        self._rows.close()
