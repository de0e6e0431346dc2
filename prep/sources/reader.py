"""Reading images from where they lie: files, members of tars, members of zips, in any order.

A training archive is a tar of one tar per class. The offset of an image from the start of the outer file is known
once the headers are walked; then an image is one seek and one read.
"""

from pathlib import Path
from typing import BinaryIO

from ..archives.zip import read_zip_member
from .parts import Location

OPEN = 64  # archives; a shard of shuffled images takes them from 1000 class tars, and a process may open 1024 files


class Reader:
    """Reads images; an archive stays open between two of them. A context manager, for one thread."""

    def __init__(self) -> None:
        self._archives: dict[Path, BinaryIO] = {}

    def read(self, location: Location, size: int) -> bytes:
        """Return the ``size`` bytes at ``location``; fewer or more if the file has changed since it was listed.

        Raises OSError if it cannot be read, and SourceError for a damaged member of a zip.
        """
        place, within, zipped = location
        if isinstance(within, str):
            return location.path.read_bytes()
        file = self.open(place)
        if zipped:
            return read_zip_member(file, within, str(place))
        file.seek(within)
        return file.read(size)

    def open(self, path: Path) -> BinaryIO:
        """Return the archive at ``path``, opened once. It may be closed when ``OPEN`` others were opened since."""
        file = self._archives.pop(path, None)
        if file is None:
            if len(self._archives) >= OPEN:
                self._archives.pop(next(iter(self._archives))).close()
            file = path.open("rb", buffering=0)  # a buffer would only be thrown away at each seek
        self._archives[path] = file  # the last one is the one used last
        return file

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._archives.values():
            file.close()
        self._archives.clear()
