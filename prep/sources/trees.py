"""Class folders and flat folders, in a directory or inside a zip: any file can be read at any time.

The names are listed once and sorted into units: a class folder is a unit of its own, a flat folder is one unit
whose images go to their classes. Kaggle's zip is read in place, without unpacking its 150 GB first.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from ..archives.zip import check_zip_member, walk_zip
from ..base.errors import SourceError
from .naming import MIXABLE, SPLITS, WNID, Place, kind_of, place
from .parts import Keep, Listing, Part, SourceImage, Unit, check_size
from .reader import Location, Reader
from .reading import ClassHolders, Reading

LISTS = (".xml", ".txt", ".csv")  # Kaggle's zip holds half a million of them

Entry = tuple[str, int, int]
"""Name, position in the zip, size."""
Locate = Callable[[str], Place | None]
"""The place of a path, such as ``naming.place``."""


@dataclass(frozen=True)
class Zip:
    """The files of a zip."""

    path: Path

    def entries(self) -> Iterator[Entry]:
        """Yield (name, position, size); folders' names end with a slash."""
        with self.path.open("rb") as file:
            for member in walk_zip(file, self.path.stat().st_size, str(self.path)):
                yield member.name, member.position, member.size

    def images(self, listing: Listing, below: Callable[[str], str]) -> Iterator[SourceImage]:
        """Yield the listed files; ``below`` gives a name's path in its unit."""
        for name, position, size in listing:
            where = f"{name} in {self.path}"
            check_size(size, where)
            yield SourceImage(below(name), size, Location(self.path, position, zipped=True), where)


@dataclass(frozen=True)
class Folder:
    """The files of a directory, named from the directory's own name on."""

    path: Path
    files: Listing

    def entries(self) -> Iterator[Entry]:
        """Yield (name, 0, size)."""
        yield from self.files

    def images(self, listing: Listing, below: Callable[[str], str]) -> Iterator[SourceImage]:
        """Yield the listed files; ``below`` gives a name's path in its unit."""
        place, within = self.path, ""
        for name, _, size in listing:
            folder, _, base = name.rpartition("/")
            if folder != within:  # one Path for all files of a folder: they are kept for a million samples
                place, within = self.path.joinpath(*folder.split("/")[1:]), folder
            where = f"{place}{os.sep}{base}"
            check_size(size, where)
            yield SourceImage(below(name), size, Location(place, base), where)


def tree_parts(
    tree: Zip | Folder, reading: Reading, locate: Locate | None = None, entries: Iterable[Entry] = ()
) -> list[Part]:
    """Return a part for each split that is found in the tree; ``entries`` are its own unless given.

    Files that are not taken are counted in ``reading``. Raises SourceError if the tree mixes layouts, or holds the same
    classes in folders whose names do not say the split.
    """
    default = reading.splits.of_source(tree.path) if isinstance(tree, Zip) else None
    locate = locate or bind(place, where=str(tree.path), default=default or "", splits=reading.splits)
    units: dict[str, dict[str, Listing]] = {}
    layouts: dict[str, str] = {}
    holders, left_out = ClassHolders(str(tree.path), reading.command), Counter[str]()
    doubtful: list[int] = []  # of a zip: members whose damaged name may hide an image
    for name, position, size in entries or tree.entries():
        found = locate(name)
        if found is None:
            if not name.endswith("/"):
                left_out[kind_of(name)] += 1
                if not name.endswith(LISTS):
                    doubtful.append(position)
            continue
        first = layouts.setdefault(found.split, found.layout)
        if first != found.layout and not {first, found.layout} <= MIXABLE:
            raise SourceError(f"{tree.path} mixes {first} with {found.layout} ({name}); give one of them")
        folder = found.split
        if _has_class_folder(name):
            folder = f"{found.split}/{found.wnid}"
            holders.add(name, found)
        units.setdefault(found.split, {}).setdefault(folder, Listing()).add(name, position, size)
    if isinstance(tree, Zip):
        with tree.path.open("rb") as file:
            for position in doubtful:
                check_zip_member(file, position, str(tree.path))
    reading.left_out.note(tree.path, "", left_out)
    holders.check()
    return [
        Part(
            source=tree.path,
            splits=(split,),
            layout=layouts[split],
            size=sum(sum(listing.sizes) for listing in listings.values()),
            images=sum(map(len, listings.values())),
            units=bind(_units, tree, split, listings, locate),
            guessed=split == "train" and holders.guessed,
        )
        for split, listings in units.items()
    ]


def _has_class_folder(name: str) -> bool:
    return any(map(WNID.fullmatch, name.split("/")[-3:-1]))  # Tiny-ImageNet has images/ in between


def _units(tree: Zip | Folder, split: str, listings: dict[str, Listing], locate: Locate, keep: Keep) -> list[Unit]:
    """Return a unit per class folder; or one for the split if some images lie flat, as after half a move."""
    if split in listings:
        images = bind(_flat_images, tree, listings, locate, keep)
        return [Unit(split, images, shared=True, texts=split not in SPLITS)]
    return [
        Unit(folder, bind(_folder_images, tree, listing, locate), texts=split not in SPLITS)
        for folder, listing in sorted(listings.items())
        if keep(split, folder.rpartition("/")[2])
    ]


def _folder_images(tree: Zip | Folder, listing: Listing, locate: Locate, reader: Reader) -> Iterator[SourceImage]:
    return tree.images(listing, bind(_name, locate))


def _flat_images(
    tree: Zip | Folder, listings: dict[str, Listing], locate: Locate, keep: Keep, reader: Reader
) -> Iterator[SourceImage]:
    for listing in listings.values():
        wanted = Listing()
        for name, position, size in listing:
            found = locate(name)
            if found and keep(found.split, found.wnid):
                wanted.add(name, position, size)
        yield from tree.images(wanted, bind(_path, locate))


def _name(locate: Locate, name: str) -> str:
    found = locate(name)
    assert found  # every listed name was located before
    return found.name


def _path(locate: Locate, name: str) -> str:
    found = locate(name)
    assert found
    return found.path
