"""Reading images from where they lie: files, members of tars, members of zips, in any order.

A training archive is a tar of one tar per class. The offset of an image from the start of the outer file is known
once the headers are walked; then an image is one seek and one read.
"""

import io
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..archives.zip import read_zip_member
from ..store.afar import far_folder_of

OPEN = 64  # archives; a shard of shuffled images takes them from 1000 class tars, and a process may open 1024 files


class Location(NamedTuple):
    """Where the bytes of an image lie: a small value that can be pickled."""

    place: Path
    """The archive, or the folder that holds the file."""
    within: str | int
    """The name of a file in the folder; the offset of the data in a tar; that of the directory entry in a zip."""
    zipped: bool = False
    """Whether ``place`` is a zip."""

    @property
    def path(self) -> Path:
        """The file to open."""
        return self.place / self.within if isinstance(self.within, str) else self.place


class Reader:
    """Reads images; an archive stays open between two of them. A context manager, for one thread.

    ``buffered`` is for images that are read in the order in which they lie. In another order, or if the headers alone
    are read, a buffer would only be thrown away at each seek.
    """

    def __init__(self, *, buffered: bool = False) -> None:
        self._buffered = buffered
        self._archives: dict[Path, BinaryIO] = {}
        self._last: tuple[Path, BinaryIO] | None = None

    def read(self, location: Location, size: int) -> bytes:
        """Return the ``size`` bytes at ``location``; fewer or more if the file has changed since it was listed.

        Raises OSError if it cannot be read, and SourceError for a damaged member of a zip.
        """
        place, within, zipped = location
        if (far := far_folder_of(place)) is not None:
            return far.read(location.path, 0 if isinstance(within, str) else within, size)
        if isinstance(within, str):
            return location.path.read_bytes()
        file = self._last[1] if self._last and self._last[0] is place else self.open(place)  # hashing a path takes time
        if zipped:
            return read_zip_member(file, within, str(place))
        file.seek(within)
        return file.read(size)

    def open(self, path: Path, buffer: int = io.DEFAULT_BUFFER_SIZE) -> BinaryIO:
        """Return the archive at ``path``, opened once, with a buffer of so many bytes if it is read in order.

        It may be closed when ``OPEN`` others were opened since.
        """
        file = self._archives.get(path)
        if file is None:
            if len(self._archives) >= OPEN:
                self._archives.pop(next(iter(self._archives))).close()
            file = self._archives[path] = path.open("rb", buffering=buffer if self._buffered else 0)
        self._last = path, file
        return file

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._archives.values():
            file.close()
        self._archives.clear()
        self._last = None
