"""The images of labelled sources, packed: 50 bytes and the name for each, so that millions fit into memory."""

import json
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..base.disks import naming
from ..base.errors import SourceError
from ..labelled.images import NO_COLUMNS, LabelledImage
from ..sources.parts import check_size
from ..sources.reader import Location

IN_MEMORY = 64 * 1024 * 1024  # bytes of columns; more go to a temporary file
FILE, MEMBER, ZIPPED, STREAMED = range(4)


class Row(NamedTuple):
    """One image without its bytes."""

    name: str
    below: str
    size: int


class Rows:
    """The images of one source in its order, with their places and columns."""

    def __init__(self, source: Path, *, sized: bool = True) -> None:
        self._source = source
        self._sized = sized  # whether the sizes are of each image, and no mean
        self._names, self._ends = bytearray(), array("Q", [0])
        self._cuts, self._sizes = array("I"), array("Q")
        self._places: list[Path] = []
        self._numbers: dict[Path, int] = {}
        self._place, self._kind, self._offset = array("I"), array("B"), array("Q")
        self._within: dict[int, str] = {}
        self._columns, self._column_ends = tempfile.SpooledTemporaryFile(IN_MEMORY), array("Q", [0])  # noqa: SIM115
        self.column_names: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self._columns.close()

    def add(self, image: LabelledImage) -> None:
        """Add an image, without its bytes. Raises SourceError if it is too large or empty."""
        check_size(image.size, image.where)
        self._names += image.name.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._names))
        below = image.below or image.name
        self._cuts.append(len(image.name) - len(below))
        self._sizes.append(image.size)
        self._add_place(image)
        if image.columns:
            self.column_names.update(dict.fromkeys(image.columns))
            with naming(tempfile.gettempdir()):
                self._columns.write(json.dumps(dict(image.columns)).encode())
        self._column_ends.append(self._columns.tell())

    def _add_place(self, image: LabelledImage) -> None:
        place, within, zipped = (self._source, 0, False) if isinstance(image.data, bytes) else image.data
        number = self._numbers.get(place)
        if number is None:
            number = self._numbers[place] = len(self._places)
            self._places.append(place)
        self._place.append(number)
        if isinstance(within, str):
            if within != image.name.rpartition("/")[2]:
                self._within[len(self._kind)] = within
            within, kind = 0, FILE
        else:
            kind = STREAMED if isinstance(image.data, bytes) else ZIPPED if zipped else MEMBER
        self._kind.append(kind)
        self._offset.append(within)

    def __getitem__(self, index: int) -> Row:
        name = self._names[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogatepass")
        return Row(name, name[self._cuts[index] :], self._sizes[index])

    def size(self, index: int) -> int:
        """Return the bytes of an image."""
        return self._sizes[index]

    def location(self, index: int) -> Location:
        """Return where an image lies; of a source that is read from front to back it means nothing."""
        place = self._places[self._place[index]]
        if self._kind[index] == FILE:
            return Location(place, self._within.get(index) or self[index].name.rpartition("/")[2])
        return Location(place, self._offset[index], zipped=self._kind[index] == ZIPPED)

    def where(self, index: int) -> str:
        """Return where an image lies, for messages."""
        place, kind, name = self._places[self._place[index]], self._kind[index], self[index].name
        if kind == FILE:
            return str(self.location(index).path)
        return f"{name} at offset {self._offset[index]} of {place}" if kind == MEMBER else f"{name} in {place}"

    def columns(self, index: int) -> Mapping[str, Any]:
        """Return the further values of an image."""
        start, end = self._column_ends[index], self._column_ends[index + 1]
        if start == end:
            return NO_COLUMNS
        self._columns.seek(start)
        return json.loads(self._columns.read(end - start))

    def check(self, images: Iterator[LabelledImage], source: Path) -> Iterator[tuple[int, LabelledImage]]:
        """Yield the images of a second reading with their row; raise SourceError if it differs from the first."""
        index = -1
        for index, image in enumerate(images):
            known = index < len(self) and self[index].name == image.name
            if not known or (self._sized and self.size(index) != image.size):
                raise SourceError(f"{source} changed while it was read, at {image.where}; run again")
            yield index, image
        if index + 1 != len(self):
            raise SourceError(f"{source} changed while it was read: {len(self) - index - 1} images are gone; run again")
