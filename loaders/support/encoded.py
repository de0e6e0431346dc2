"""What the encoded images of a split are: one image, many at once, and the protocols of what reads them.

``shard_samples`` reads shards, ``samples`` class folders, and opens the one that a root has.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ...prep.images.tiles import Tiles

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


class EncodedImage(NamedTuple):
    """One encoded image."""

    data: U8
    tiles: Tiles | None


class Located(NamedTuple):
    """Where encoded images lie in memory, for code that reads them without the GIL; one item per image."""

    data: I64
    """Address of the image."""
    lengths: I64
    """Address of the lengths of its MCU rows, uint16."""
    rows: npt.NDArray[np.void]
    """The rows of the index without their keys (``index_rows.TAIL``)."""
    holds: list[Any]
    """What must live as long as the addresses are used."""


class ReadImages(NamedTuple):
    """Encoded images that were read into one buffer of this thread, which the next call overwrites."""

    data: U8
    starts: I64
    """Where each image begins."""
    sizes: I64
    """In bytes; 0 for an image that could not be read."""
    failures: dict[int, OSError]
    """Why an image could not be read, by its place in the call."""

    def image(self, place: int) -> EncodedImage:
        """Return one of the images."""
        start = self.starts.item(place)
        return EncodedImage(self.data[start : start + self.sizes.item(place)], None)


class EncodedSamples(Protocol):
    """A split's encoded images by sample index. Many threads can read at the same time."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The class index of each sample, int64 (samples,), made at the first access."""
        ...

    def labels_of(self, indexes: I64) -> I64:
        """Return the class indexes of some samples, int64."""
        ...

    def windows(self) -> Sequence[int]:
        """Return the number of samples of each shard, or of all images as one without shards."""
        ...

    def in_window(self, window: int) -> I64:
        """Return the sample indexes of one shard in its order, int64."""
        ...

    def read(self, index: int) -> EncodedImage:
        """Return one image."""
        ...

    def name(self, index: int) -> str:
        """Return the location of a sample, for messages."""
        ...

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        ...

    def close(self) -> None:
        """Release every file and mapping."""
        ...


@runtime_checkable
class LocatedSamples(EncodedSamples, Protocol):
    """EncodedSamples that are in memory, or mapped."""

    def locate(self, indexes: I64) -> Located:
        """Return where many images lie. Raises OSError."""
        ...

    def count_touched(self, indexes: I64, size: int) -> None:
        """Take note that so many bytes of these images were read where they were located."""
        ...

    @property
    def lost(self) -> bool:
        """Whether what was located or read may be zeros, since a mapped file can no longer be read.

        From then on, ``read`` returns images that are not mapped."""
        ...


@runtime_checkable
class FileSamples(EncodedSamples, Protocol):
    """EncodedSamples that must be read, of which many can be read at once."""

    def read_many(self, indexes: Sequence[int]) -> ReadImages:
        """Return many images."""
        ...


def bytes_of(samples: EncodedSamples, index: int) -> bytes:
    """Return the bytes of one image. Raises OSError."""
    data = samples.read(index).data.tobytes()
    if isinstance(samples, LocatedSamples) and samples.lost:  # perhaps while they were copied
        return samples.read(index).data.tobytes()
    return data
