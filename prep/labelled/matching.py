"""Which row of a label list belongs to which image: by the path that the row says.

A row's path may be relative to the list's folder or to the source, or be the end of an image's path, as in lists of
bare names; each with the extension or without it. These ways are tried in this order, and a row that one of them
settles takes part in no later one. Two images for one row, and two labels for one image, are errors.
"""

import os
import posixpath
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial as bind
from pathlib import Path

from ..base.errors import SourceError
from .files import Files
from .rows import NONE, Rows, normal_path

Keys = Callable[[str], Iterator[str]]
"""Yields the paths under which a row may name an image, the longest first."""


@dataclass(frozen=True)
class Matches:
    """Which row each image has."""

    rows_of: list["array[int]"]
    """By source, by image, the number of its row or NONE."""
    missing: "array[int]"
    """The rows whose image is in no source."""


def match(sources: Sequence[Files], rows: Rows, lists: Sequence[Path]) -> Matches:
    """Return the row of each image.

    Raises SourceError for a row that names two images, and for two rows that name one image and contradict each other.
    """
    rows_of = [array("q", [NONE]) * len(source) for source in sources]
    way_of = array("b", [NONE]) * len(rows)
    image_of = array("q", [NONE]) * len(rows)
    left = [len(by_path) for by_path in rows.by_path]
    for way in range(len(_WAYS)):
        for at, path in enumerate(lists):
            first = 0
            for source, found in zip(sources, rows_of, strict=True):
                if left[at]:
                    keys = _keys(way, source.path, path)
                    left[at] -= _match_one(source, first, found, rows, at, keys, way, way_of, image_of, sources)
                first += len(source)
    missing = array("q", (row for row, way in enumerate(way_of) if way == NONE))
    if missing:
        missing = _without_repeated(missing, sources, rows_of, rows, lists)
    return Matches(rows_of, missing)


def named_images(sources: Sequence[Files], path: Path, wanted: frozenset[str]) -> frozenset[str]:
    """Return which of some values of the list at ``path`` name an image of the sources."""
    by_path = {normal_path(text): text for text in wanted if text}
    found: set[str] = set()
    for source in sources:
        ways = [_keys(way, source.path, path) for way in range(len(_WAYS))]
        for name, _, _ in source:
            found.update(by_path[key] for keys in ways for key in keys(name) if key in by_path)
            if len(found) == len(by_path):
                return frozenset(found)
    return frozenset(found)


def _match_one(
    source: Files,
    first: int,
    found: "array[int]",
    rows: Rows,
    at: int,
    keys: Keys,
    way: int,
    way_of: "array[int]",
    image_of: "array[int]",
    sources: Sequence[Files],
) -> int:
    """Match the images of a source that have no row with the rows of a list that have no image; return how many."""
    by_path, count = rows.by_path[at], 0
    for number, (name, _, _) in enumerate(source):
        if found[number] != NONE:
            continue
        for key in keys(name):
            row = by_path.get(key)
            if row is None or way_of[row] not in (NONE, way):
                continue
            if way_of[row] == way:
                other = _name_of(image_of[row], sources)
                raise SourceError(
                    f"{rows.where(row)} names {key!r}, which is in {source.path} twice: {other} and {name}; write "
                    f"the path of each image below the source, or give the one folder that the list is about"
                )
            found[number], way_of[row], image_of[row] = row, way, first + number
            count += 1
            break
    return count


def _without_repeated(
    missing: "array[int]",
    sources: Sequence[Files],
    rows_of: list["array[int]"],
    rows: Rows,
    lists: Sequence[Path],
) -> "array[int]":
    """Return the rows without those that name, in another way, an image that has a row. They must agree."""
    left = set(missing)
    for source, found in zip(sources, rows_of, strict=True):
        for at, path in enumerate(lists):
            ways = [_keys(way, source.path, path) for way in range(len(_WAYS))]
            for number, (name, _, _) in enumerate(source):
                if found[number] == NONE:
                    continue
                for key in (key for keys in ways for key in keys(name)):
                    row = rows.by_path[at].get(key)
                    if row in left:
                        rows.check_repeated(row, found[number], key)
                        left.discard(row)
    return array("q", sorted(left))


def _name_of(image: int, sources: Sequence[Files]) -> str:
    for source in sources:
        if image < len(source):
            return next(name for number, (name, _, _) in enumerate(source) if number == image)
        image -= len(source)
    raise AssertionError(image)


def _keys(way: int, source: Path, path: Path) -> Keys:
    """Return the keys of one way for the images of ``source`` and the list at ``path``."""
    # The members of an archive are named as if they were unpacked next to it.
    base = source.absolute() if source.is_dir() else source.absolute().parent
    whole = normal_path((source.absolute() if source.is_dir() else source.absolute().with_suffix("")).as_posix()) + "/"
    return bind(_WAYS[way], _From(base, path.absolute().parent), whole)


class _From:
    """The folders of a source as seen from the folder of a list; 14 million names are asked about, so it joins text."""

    def __init__(self, base: Path, home: Path) -> None:
        self._inside = None
        if home != base and home.is_relative_to(base):
            self._inside = home.relative_to(base).as_posix()
        try:
            found = Path(os.path.relpath(base, home)).as_posix()
        except ValueError:  # another drive of Windows
            found = base.as_posix()
        self._before = "" if found == "." else found + "/"
        self._around = lru_cache(maxsize=65536)(self._relative)

    def __call__(self, folder: str) -> str:
        """Return the path of a folder below the source, with a slash at its end, from the list's folder."""
        if self._inside is None:
            return f"{self._before}{folder}/" if folder else self._before
        return self._around(folder)

    def _relative(self, folder: str) -> str:
        found = posixpath.relpath(folder or ".", self._inside)
        return "" if found == "." else found + "/"


def _beside_list(seen: _From, whole: str, name: str) -> Iterator[str]:
    folder, _, base = name.rpartition("/")
    yield normal_path(seen(folder) + base)


def _in_source(seen: _From, whole: str, name: str) -> Iterator[str]:
    yield normal_path(name)


def _at_end(seen: _From, whole: str, name: str) -> Iterator[str]:
    path = whole + normal_path(name)
    yield path
    start = path.find("/") + 1
    while start:
        yield path[start:]
        start = path.find("/", start) + 1


def _bare(way: Callable[[_From, str, str], Iterator[str]]) -> Callable[[_From, str, str], Iterator[str]]:
    """Return a way whose paths have no extension."""

    def bare(seen: _From, whole: str, name: str) -> Iterator[str]:
        return way(seen, whole, name.rpartition(".")[0])

    return bare


_WAYS = (_beside_list, _in_source, _bare(_beside_list), _bare(_in_source), _at_end, _bare(_at_end))
