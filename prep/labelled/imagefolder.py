"""Recognising class folders of any names, in a folder, a zip or a tar."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial as bind
from pathlib import Path

from ..base.errors import SourceError
from ..sources.naming import SplitNames
from ..sources.reader import Reader
from ..sources.reading import check_choices
from .arrangement import Arrangement, Placed, arrange
from .files import Files, list_files, stream
from .images import LabelledImage, LabelledSource

IMAGEFOLDER = "imagefolder"
SHOWN = 5  # folders in a message


def recognise_imagefolder(
    sources: Sequence[Path],
    skip: Path | None = None,
    *,
    split_from: Mapping[str, str] | None = None,
    class_depth: int | None = None,
) -> list[LabelledSource]:
    """Return the images of class folders, with their splits and classes; ``skip``, the output, is left out.

    ``split_from`` is {name of a folder or archive: split} for names that do not say it. ``class_depth`` is how many
    folders make a class, 1 by default. Raises SourceError for a source that is missing, damaged, something else, or
    can be meant in two ways.
    """
    check_choices(split_from or {})
    splits = SplitNames(split_from)
    found: list[tuple[Files, Arrangement]] = []
    for source in sources:
        files = list_files(source, splits, skip)
        default = splits.of_source(source.resolve()) or ""
        found.append(
            (files, arrange(files.folders, files.subfolders, str(source), splits, default, class_depth)),
        )
    if splits.unused:
        raise SourceError(f"no folder or archive of the sources is named {splits.unused[0]!r}; correct --split-from")
    _check_splits(found)
    return [_labelled(files, arrangement) for files, arrangement in found]


def _check_splits(found: Sequence[tuple[Files, Arrangement]]) -> None:
    """Raise SourceError if some sources say their split and others do not."""
    silent = [files.path for files, held in found if any(not placed.split for placed in held.places.values())]
    if silent and len(silent) < len(found):
        options = " ".join(f'--split-from "{path.resolve().name}=SPLIT"' for path in silent)
        raise SourceError(
            f"{silent[0]} does not say its split, though other sources do; say it, with train, val or test for SPLIT: "
            f"{options}"
        )


def _labelled(files: Files, arrangement: Arrangement) -> LabelledSource:
    left_out = Counter(files.left_out)
    for folder, images in files.folders.items():
        if folder not in arrangement.places:
            left_out["image in no class folder" if images == 1 else "images in no class folder"] += images
    notes = list(arrangement.notes)
    if arrangement.empty:
        more = len(arrangement.empty) - SHOWN
        names = ", ".join(arrangement.empty[:SHOWN]) + (f" and {more} more" if more > 0 else "")
        notes.append(f"{files.path}: folders without an image, which are no classes: {names}")
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    return LabelledSource(
        path=files.path,
        layout=IMAGEFOLDER,
        images=bind(_streamed if files.streamed else _images, files, arrangement.places),
        listing=bind(_images, files, arrangement.places),
        left_out=tuple(f"{count} {kind}" for kind, count in ordered if count),
        notes=tuple(notes),
        streamed=files.streamed,
    )


def _images(files: Files, places: Mapping[str, Placed], reader: Reader) -> Iterator[LabelledImage]:
    for name, position, size in files:
        if placed := places.get(name.rpartition("/")[0]):
            where = files.where(name, position)
            data = b"" if files.streamed else files.location(name, position)
            yield LabelledImage(name, size, data, where, placed.split, placed.label, below=name[placed.cut :])


def _streamed(files: Files, places: Mapping[str, Placed], reader: Reader) -> Iterator[LabelledImage]:
    for name, position, size, data in stream(files):
        if placed := places.get(name.rpartition("/")[0]):
            where = files.where(name, position)
            yield LabelledImage(name, size, data, where, placed.split, placed.label, below=name[placed.cut :])
