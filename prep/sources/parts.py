"""What a source holds of the data set: the form that every layout takes before it is written.

Recognising a source must not read its images, and 1.3 million names must not fill the memory. So a part stores
its splits and sizes and makes its units on request, and names are packed in arrays: 24 bytes and the
name itself for each image, 60 MB for ImageNet.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..base.errors import SourceError
from .naming import IMAGENET_V2, IMAGENETTE, IMAGEWOOF, TINY_IMAGENET
from .reader import Location, Reader

IMAGENET = "imagenet"
DATASETS = {
    IMAGENET_V2: "imagenet-v2",
    IMAGENETTE: "imagenette",
    IMAGEWOOF: "imagewoof",
    TINY_IMAGENET: "tiny-imagenet",
}

SIGNATURE = "feedline-synthetic"
"""Owner of the members of synthetic archives: they may be small without being damaged."""

MAX_IMAGE = 64 * 1024 * 1024  # bytes; the largest official one has about 15 MB
MEAN_IMAGE = 110_000  # bytes

Keep = Callable[[str, str], bool]
"""Whether a split's wnid is wanted; the wnid of a test image is empty."""

Counts = dict[str, tuple[int, int]]
"""(files, bytes) by folder below the root, such as "val/n01440764"."""


class SourceImage(NamedTuple):
    """One file of a unit: its path below the unit's folder, its size, and its bytes or where they lie."""

    path: str
    size: int
    data: Location | bytes
    """Of a source that is read from front to back, the bytes; else where they lie."""
    where: str
    """Its archive, name and offset, for messages."""

    def read(self, reader: Reader) -> bytes:
        """Return the bytes. Raises OSError if they cannot be read, SourceError if they are damaged or changed."""
        if isinstance(self.data, bytes):
            return self.data
        data = reader.read(self.data, self.size)
        if len(data) != self.size:
            raise SourceError(f"{self.where} changed while it was read; run again")
        return data


@dataclass(frozen=True)
class Unit:
    """What is written, resumed and reported as one."""

    folder: str
    """Such as "train/n01440764", with forward slashes, below the root; "" for the root itself."""
    images: Callable[[Reader], Iterator[SourceImage]]
    """Its images; reading them through the same reader needs no second open file."""
    shared: bool = False
    """Whether other units write into the same folder."""
    texts: bool = False
    """Whether its files are texts, and no images to be checked."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one source holds of some splits."""

    source: Path
    splits: tuple[str, ...]
    """The splits that it holds; of an archive that has to be read through, those that it may hold."""
    layout: str
    size: int
    """Bytes of its images, or of the archive if only that is known before reading."""
    units: Callable[[Keep], list[Unit]]
    images: int | None = None
    signed: bool = False
    """Whether its header records that feedline made it: then no official count is expected."""
    guessed: bool = False
    """Whether nothing names the split of some images, so that it is the default one."""
    streamed: bool = False
    """Whether its images can only be read from front to back, as those of a gzipped tar."""

    @property
    def dataset(self) -> str:
        return DATASETS.get(self.layout, IMAGENET)

    @property
    def files(self) -> int:
        """Images, estimated if they are not known."""
        return self.size // MEAN_IMAGE + 1 if self.images is None else self.images


@dataclass
class Listing:
    """Files of one unit inside a zip or a folder, packed."""

    names: bytearray = field(default_factory=bytearray)
    positions: "array[int]" = field(default_factory=lambda: array("Q"))
    sizes: "array[int]" = field(default_factory=lambda: array("Q"))

    def add(self, name: str, position: int, size: int) -> None:
        self.names += name.encode("utf-8", "surrogateescape") + b"\0"  # which no file's name holds
        self.positions.append(position)
        self.sizes.append(size)

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        names = self.names.decode("utf-8", "surrogateescape").split("\0")
        yield from zip(names[:-1], self.positions, self.sizes, strict=True)


def keep_all(split: str, wnid: str) -> bool:
    """Return True: the ``Keep`` of everything."""
    return True


def check_size(size: int, where: str) -> None:
    """Raise SourceError for a file that cannot be an image, before memory is spent on it."""
    if not 0 < size <= MAX_IMAGE:
        raise SourceError(
            f"{where} has {size} bytes, which no image has (at most {MAX_IMAGE}); get the original, or leave it out"
        )


def distinct(unit: Unit, reader: Reader) -> Iterator[SourceImage]:
    """Yield a unit's images; raise SourceError for a name that comes twice, also if only the case differs."""
    seen: set[str] = set()
    for image in unit.images(reader):
        # Windows and macOS take A.JPEG and a.jpeg for one file: the second would replace the first.
        name = image.path.casefold()
        if name in seen:
            raise SourceError(
                f"{image.where} comes twice (or differs only in case), so one of them would be lost; "
                f"remove one, or rename it"
            )
        seen.add(name)
        yield image


def add_counts(counts: Counts, unit: Unit, found: Counts) -> None:
    """Add what was found of a unit; raise SourceError for a folder that another source holds as well."""
    for folder, (files, size) in found.items():
        if folder in counts and not unit.shared:
            raise SourceError(f"two sources hold {folder}; give one of them")
        before = counts.get(folder, (0, 0))
        counts[folder] = (before[0] + files, before[1] + size)
