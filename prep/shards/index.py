"""The sidecar of a shard: where every sample lies and how to enter it, without reading the tar.

One file per shard, ``<shard name without .tar>.index``: two numpy arrays in the .npy format (NEP 1), one behind the
other, so that both can be mapped and nothing is ever unpickled. The first has a row per sample, in shard order;
the second holds the byte length of each row of restart tiles, as uint16. The tiles within the few rows that a crop
touches are found by their markers, which takes microseconds, so that ImageNet's 1.28 million samples need 140 MB;
the lengths of all tiles would make it 700 MB. A sample without usable tiles has restart interval 0. If it has no tiles
but a ``scan``, it is pixels as they are, from there on, row by row (``archives.npy``).
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.errors import DatasetError
from ..base.mapping import MappedFile
from ..base.origins import hold, origin_of, size_of
from ..base.shell import shell_word
from ..images.geometry import Geometry
from ..limits.reached import limit_reached

SUFFIX = ".index"
LONGEST_HEADER = 4096  # bytes of the header of a .npy array, which has 300 here
LONGEST_ROW = 2**16 - 1  # bytes; an image with a longer MCU row is decoded whole


def sample_dtype(key_length: int) -> np.dtype[np.void]:
    """Return the row of one sample, for keys of up to ``key_length`` bytes in UTF-8."""
    return np.dtype(
        [
            ("key", f"S{key_length}"),
            ("offset", "<u8"),  # of the image's data, in bytes from the start of the shard
            ("size", "<u4"),  # of the image's data, in bytes
            ("label", "<i4"),  # -1 without a class
            ("width", "<u4"),  # pixels; 0 where the header could not be read
            ("height", "<u4"),
            ("mcu_width", "u1"),  # pixels
            ("mcu_height", "u1"),
            ("restart_interval", "<u2"),  # MCUs per tile; 0: no tiles, decode whole
            ("scan", "<u4"),  # of the first tile, or raw image's pixel, in bytes from the start of the image's data
            ("first_row", "<u4"),  # where the image's MCU rows begin in the row lengths
            ("rows", "<u4"),
        ]
    )


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """A mapped sidecar."""

    samples: npt.NDArray[np.void]
    """(samples,), of ``sample_dtype``."""
    row_lengths: npt.NDArray[np.uint16]
    """(MCU rows of all images,), in bytes, each with the markers in it and the one that ends it."""
    mapped: MappedFile | None = None
    """The file that both are views of."""

    def let_go(self) -> None:
        """Release the mapped pages; the next access maps them again."""
        if self.mapped is not None:
            self.mapped.let_go()

    def to_bytes(self) -> bytes:
        """Return the contents of the sidecar."""
        file = BytesIO()
        np.lib.format.write_array(file, self.samples, version=(1, 0), allow_pickle=False)
        np.lib.format.write_array(file, self.row_lengths, version=(1, 0), allow_pickle=False)
        return file.getvalue()


def index_path(shard: Path) -> Path:
    """Return where the sidecar of a shard lies; ``shard`` is its path in the set's directory: see ``roots.places``."""
    return shard.with_suffix(SUFFIX)


class IndexBuilder:
    """Collects the rows of one shard's sidecar, in shard order."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._row_lengths: list[npt.NDArray[np.uint16]] = []
        self._mcu_rows = 0

    def add(
        self,
        key: str,
        offset: int,
        size: int,
        label: int,
        pixels: tuple[int, int],
        geometry: Geometry | None,
        first_pixel: int = 0,
    ) -> None:
        """Add a sample: where its image's data lies in the shard, its (width, height), and its tiles if any.

        ``first_pixel`` is where the pixels of a raw image begin in its data, else 0.
        """
        mcu, entry, lengths = (0, 0), (0, first_pixel), np.empty(0, np.uint16)
        if geometry is not None:
            mcu = geometry.mcu_width, geometry.mcu_height
            rows = np.diff(geometry.offsets[:: geometry.columns // geometry.restart_interval])
            if rows.max() <= LONGEST_ROW:
                entry = geometry.restart_interval, int(geometry.offsets[0])
                lengths = rows.astype(np.uint16)
        self._rows.append((encoded_key(key), offset, size, label, *pixels, *mcu, *entry, self._mcu_rows, len(lengths)))
        self._row_lengths.append(lengths)
        self._mcu_rows += len(lengths)

    def to_bytes(self) -> bytes:
        """Return the contents of the sidecar."""
        longest = max((len(row[0]) for row in self._rows), default=1)
        samples = np.array(self._rows, dtype=sample_dtype(longest))
        lengths = np.concatenate([np.empty(0, np.uint16), *self._row_lengths])
        return ShardIndex(samples, lengths).to_bytes()


def encoded_key(key: str) -> bytes:
    """Return a key as the index holds it. A name in a tar need not be UTF-8."""
    return key.encode("utf-8", "surrogateescape")


def decoded_key(key: bytes) -> str:
    """Return the key of a row."""
    return key.decode("utf-8", "surrogateescape")


def read_index(shard: Path, place: Path | None = None, length: int | None = None) -> ShardIndex:
    """Map the sidecar of ``shard``, its path in the directory of the set; ``place`` is where it lies, if elsewhere.

    ``length`` is the size of a shard that is not here, in bytes.

    Raises DatasetError when it is missing, damaged, or points outside itself or the shard.
    """
    path = index_path(shard)
    try:
        mapped = MappedFile(hold(path))
        samples, end = _array(mapped.data, 0)
        row_lengths, _ = _array(mapped.data, end)
        length = size_of(place or shard) if length is None else length
    except (OSError, ValueError) as error:
        if limit := limit_reached(error):
            raise DatasetError(f"cannot read {path}: {limit}") from error
        raise DatasetError(f"cannot read {path} ({error}); {rebuild(shard.parent)}") from error
    index = ShardIndex(samples, row_lengths, mapped)
    if not _is_row(samples.dtype) or row_lengths.dtype != np.dtype("<u2"):
        raise DatasetError(f"{path} is not an index of this version; {rebuild(shard.parent)}")
    ends = samples["offset"] + samples["size"]
    last_rows = samples["first_row"].astype(np.int64) + samples["rows"]
    outside = (samples["offset"] > length) | (ends > length)  # a sum of 64-bit offsets may wrap around
    if outside.any() or last_rows.max(initial=0) > len(row_lengths):
        raise DatasetError(f"{path} points outside {shard.name}; {rebuild(shard.parent)}")
    return index


def _is_row(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is that of ``sample_dtype``, field by field: the loaders read rows by address."""
    return dtype.names == sample_dtype(1).names and dtype == sample_dtype(dtype["key"].itemsize)


def _array(mapped: npt.NDArray[np.uint8], begin: int) -> tuple[npt.NDArray[Any], int]:
    """Return the .npy array that begins at a byte of a mapped file, as a view of it, and where it ends.

    The header is read from the mapping too: the file of this name may be another one by now.
    """
    file = BytesIO(mapped[begin : begin + LONGEST_HEADER].tobytes())
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # numpy reads the header as Python source, and raises what tokenize and ast do
        raise ValueError("no .npy header") from error
    if version != (1, 0):
        raise ValueError(f".npy version {version}")
    if fortran or dtype.hasobject or len(shape) != 1:
        raise ValueError(f"an array of {dtype} {shape}")
    offset, size = begin + file.tell(), shape[0] * dtype.itemsize
    if shape[0] < 0 or offset + size > len(mapped):
        raise ValueError("the file is cut short")
    found = mapped[offset : offset + size].view(dtype) if size else np.empty(shape, dtype)
    return found, offset + size


def rebuild(directory: Path) -> str:
    """Return what to do about a wrong index in a directory of shards, for messages."""
    if origin_of(directory) is not None:  # perhaps only the copy is wrong
        return f"compare it with the store, and fetch it again, with: feedline verify {shell_word(directory.parent)}"
    return f"rebuild it with: feedline shard --index-only {shell_word(directory)}"
