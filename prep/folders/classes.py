"""Which classes a root has: those of train and val together, and what is reported where they differ."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..base.errors import SourceError
from ..base.manifest import Manifest
from ..base.progress import Notice
from ..sources.naming import WNID
from ..sources.parts import Counts, Part
from ..sources.reader import Reader
from ..sources.request import Request

SHOWN = 5  # class ids in a message


def note_empty_classes(parts: Sequence[Part], counts: Counts, request: Request, notice: Notice) -> None:
    """Add the class folders without an image that lie in a source's train, with no images, to ``counts``.

    An empty folder of another split is no class, because train says which classes there are.
    """
    if not any(folder.startswith("train/") for folder in counts):
        return
    empty = sorted(wnid for part in parts for wnid in _empty_classes(part, request) if f"train/{wnid}" not in counts)
    for wnid in empty:
        counts[f"train/{wnid}"] = (0, 0)
    if empty:
        notice(f"{_number(empty)} without an image in train {_is(empty)} kept: {listed(empty)}")


def note_differences(manifest: Manifest, notice: Notice) -> None:
    """Report the classes that only train or only val has; the class indexes count both."""
    held = {
        split: {entry.wnid for entry, images in zip(manifest.classes, numbers, strict=True) if images}
        for split in ("train", "val")
        if split in manifest.splits and (numbers := manifest.splits[split].per_class)
    }
    if len(held) < 2:
        return
    for split, other in (("train", "val"), ("val", "train")):
        if only := sorted(held[split] - held[other]):
            notice(f"{_number(only)} {_is(only)} in {split} and not in {other}: {listed(only)}")


def check_asked(request: Request, classes: Iterable[str]) -> None:
    """Raise SourceError if a class that was asked for is in none of the sources."""
    missing = sorted((request.classes or frozenset()) - set(classes))
    if missing:
        raise SourceError(
            f"the sources hold no image of {len(missing)} of the {len(request.classes or ())} classes of --classes: "
            f"{listed(missing)}; correct the file, or give the sources that hold them"
        )


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _empty_classes(part: Part, request: Request) -> set[str]:
    """Return the class folders in the folder of a part's train that hold no image of the part."""
    if "train" not in part.splits or not part.source.is_dir():
        return set()
    parents, held = set[Path](), set[str]()
    with Reader() as reader:
        for unit in part.units(request.keeps):
            if unit.folder.startswith("train/") and (image := next(unit.images(reader), None)):
                held.add(unit.folder.partition("/")[2])
                if not isinstance(image.data, bytes) and WNID.fullmatch(image.data.place.name):
                    parents.add(image.data.place.parent)
    found: set[str] = set()
    for parent in parents:
        with os.scandir(parent) as entries:
            names = {entry.name for entry in entries if WNID.fullmatch(entry.name) and entry.is_dir()}
        found |= {name for name in names if request.keeps("train", name)}
    return found - held


def _number(classes: Sequence[str]) -> str:
    return "1 class" if len(classes) == 1 else f"{len(classes)} classes"


def _is(classes: Sequence[str]) -> str:
    return "is" if len(classes) == 1 else "are"
