"""The image files of a folder, a zip or a tar: their paths, sizes and positions, packed, in the order of the source.

A label list names them in any order, so their names are in memory before the first image is read: 24 bytes and the
name itself for each. A compressed tar is read twice, first for the names and then for the images.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ..archives.compressed import compression_of, open_tar
from ..archives.tar import read_member
from ..base.errors import SourceError
from ..base.names import is_path_below
from ..images.files import is_image_name
from ..sources.naming import kind_of
from ..sources.parts import Listing, check_size
from ..sources.reader import Location, Reader
from ..sources.reading import Reading
from ..sources.strange import broken_links, refuse_strange
from ..sources.trees import Zip
from ..sources.walking import walk_folder

ZIP = b"PK"
Kind = Literal["folder", "zip", "tar", "compressed tar"]


class Found(NamedTuple):
    """One image file of a source."""

    number: int
    """Its place in the listing."""
    name: str
    """Its path below the source, with forward slashes."""
    size: int
    data: Location | bytes
    where: str


@dataclass(frozen=True)
class ImageFiles:
    """The image files of one source."""

    path: Path
    kind: Kind
    listing: Listing
    left_out: Counter[str]
    """Files that are no images, by kind."""

    def __len__(self) -> int:
        return len(self.listing)

    def names(self) -> Iterator[str]:
        """Yield the paths below the source, in order."""
        for name, _, _ in self.listing:
            yield name

    def read(self, reader: Reader, wanted: "bytearray") -> Iterator[Found]:
        """Yield the images whose byte in ``wanted`` is not zero. Raises SourceError for a size that no image has."""
        if self.kind == "compressed tar":
            yield from self._stream(wanted)
            return
        place, within = self.path, ""
        for number, (name, position, size) in enumerate(self.listing):
            if not wanted[number]:
                continue
            if self.kind == "folder":
                folder, _, base = name.rpartition("/")
                if folder != within:
                    place, within = (self.path.joinpath(*folder.split("/")) if folder else self.path), folder
                where, data = f"{place}{os.sep}{base}", Location(place, base)
            else:
                where, data = f"{name} in {self.path}", Location(self.path, position, zipped=self.kind == "zip")
            check_size(size, where)
            yield Found(number, name, size, data, where)

    def _stream(self, wanted: "bytearray") -> Iterator[Found]:
        number = -1
        with open_tar(self.path) as (file, members):
            for member in members:
                if member.is_directory or _is_passed_over(name := _plain(member.name)):
                    continue
                number += 1
                if number < len(wanted) and wanted[number]:
                    where = f"{name} at offset {member.offset} of {self.path}"
                    check_size(member.size, where)
                    yield Found(number, name, member.size, read_member(file, member, str(self.path)), where)


def list_images(path: Path, reading: Reading, lists: frozenset[Path] = frozenset()) -> ImageFiles:
    """Return the image files of a source; the files in ``lists``, which are resolved, are not counted as left out.

    Raises SourceError for a source that is missing, damaged, or neither a folder, a zip nor a tar.
    """
    if not path.exists():
        raise broken_links([path]) if path.is_symlink() else SourceError(f"{path} does not exist; check the path")
    listing, left_out = Listing(), Counter[str]()
    if path.is_dir():
        for name, entry in walk_folder(path, reading, left_out):
            if is_image_name(entry.name):
                _add(listing, path, name.partition("/")[2], 0, entry.stat().st_size)
            elif not (lists and Path(entry.path).resolve() in lists):
                left_out[kind_of(name)] += 1
        return ImageFiles(path, "folder", listing, left_out)
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise SourceError(f"{path} is empty; copy or download it again")
    refuse_strange(path, start)
    for name, position, size in _members(path, start):
        if _is_passed_over(name):
            left_out[kind_of(name)] += 1
            continue
        _add(listing, path, name, position, size)
    return ImageFiles(path, _kind(path, start), listing, left_out)


def _add(listing: Listing, path: Path, name: str, position: int, size: int) -> None:
    if not is_path_below(name) or "\n" in name:
        reason = "holds a line break; rename it" if "\n" in name else "leads elsewhere; pack the archive again"
        raise SourceError(f"{path} holds the path {name[:200]!r}, which {reason}")
    listing.add(name, position, size)


def _kind(path: Path, start: bytes) -> Kind:
    if start.startswith(ZIP):
        return "zip"
    return "compressed tar" if compression_of(path) else "tar"


def _members(path: Path, start: bytes) -> Iterator[tuple[str, int, int]]:
    if start.startswith(ZIP):
        for name, position, size in Zip(path).entries():
            if not name.endswith("/"):
                yield _plain(name), position, size
        return
    with open_tar(path) as (_, members):
        for member in members:
            if not member.is_directory:
                yield _plain(member.name), member.offset, member.size


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _is_passed_over(name: str) -> bool:
    *folders, base = name.split("/")
    return (
        not is_image_name(base)
        or "__MACOSX" in folders
        or any(folder[:1] == "." and folder != ".." for folder in folders)
    )
