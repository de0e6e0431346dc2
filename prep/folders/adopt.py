"""Adopting class folders: a source that is the output gets a manifest, and nothing else is written to it.

The folders are the user's own and may be the only copy. So this code only reads: it checks that every image lies
where the manifest says, makes the checks that copying makes, counts the images, and reports what else lies there.
An adoption leaves nothing to continue, because its result is one document. Its job file says that it adopts.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial as bind
from pathlib import Path

from ..base.errors import SourceError
from ..base.output import remove_partial, start_output
from ..base.progress import Notice, Progress, counter
from ..base.threads import raise_if_stopped, run_all
from ..images.check import quick_problem
from ..sources.agreement import units_of
from ..sources.naming import SUFFIXES, WNID
from ..sources.parts import Counts, Part, SourceImage, Unit, add_counts, distinct
from ..sources.reader import Reader
from ..sources.request import Request
from .classes import note_empty_classes
from .root import job_of

Report = Callable[[int], None]


@dataclass(frozen=True)
class _Checked:
    """What was found of a unit."""

    counts: Counts
    strangers: Counter[str]
    example: str


def adopt(
    parts: Sequence[Part], out: Path, request: Request, workers: int, progress: Progress, notice: Notice
) -> Counts:
    """Check the images of the parts in ``out``, which is their source, and return the counts of their folders.

    ``.partial/`` is there when the function returns, as after writing; it is removed if the function raises.

    Raises SourceError for images that lie elsewhere than the manifest can say, and for an image that copying refuses.
    """
    units = [unit for part in parts for unit in units_of(part, request)]
    with Reader() as reader:
        for part in parts:
            _check_places(part, out, request, reader)
    start_output(out, replace(job_of(parts, request), adopts=True))
    try:
        count = counter(progress, "class folders, MB", sum(part.size for part in parts), 10**6)
        found = run_all([bind(_check_unit, out, unit, request, count) for unit in units], workers)
        counts: Counts = {}
        for unit, checked in zip(units, found, strict=True):
            add_counts(counts, unit, checked.counts)
        note_empty_classes(parts, counts, request, notice)
        _report_strangers(out, found, counts, request, notice)
    except BaseException:
        remove_partial(out)
        raise
    return counts


def _check_places(part: Part, out: Path, request: Request, reader: Reader) -> None:
    """Raise SourceError unless every image lies at its path below the root."""
    copy = f"feedline {request.command} {part.source} --out OTHER"
    expected: dict[str, Path] = {}
    for unit in units_of(part, request):
        for image in unit.images(reader):
            folder, name = _place_in_root(unit, image)
            if folder not in expected:
                expected[folder] = part.source.joinpath(*folder.split("/"))
            place, within, _ = (out, 0, False) if isinstance(image.data, bytes) else image.data
            if place == expected[folder] and within == name:
                continue
            if isinstance(within, str) and not WNID.fullmatch(place.name) and folder.count("/"):
                raise SourceError(
                    f"{out} holds images that are in no class folder; choose another directory with --out, "
                    f"such as OTHER: {copy}"
                )
            raise SourceError(
                f"{image.where} is not in {out / folder}, so {out} cannot be used in place; copy it with: {copy}"
            )


def _place_in_root(unit: Unit, image: SourceImage) -> tuple[str, str]:
    folder, _, name = f"{unit.folder}/{image.path}".removeprefix("/").rpartition("/")
    return folder, name


def _check_unit(out: Path, unit: Unit, request: Request, report: Report, stop: threading.Event) -> _Checked:
    counts: Counts = {}
    taken: dict[str, set[str]] = {}
    with Reader() as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            data = image.read(reader)
            if problem := quick_problem(data):
                raise SourceError(f"{image.where} {problem}; copy or download it again")
            folder, name = _place_in_root(unit, image)
            images, size = counts.get(folder, (0, 0))
            counts[folder] = images + 1, size + image.size
            taken.setdefault(folder, set()).add(name)
            report(image.size)
    strangers, example = Counter[str](), ""
    for folder, names in taken.items():
        if unit.shared and not folder.count("/"):
            continue  # the folder of a split, which _report_strangers lists
        for path in _files(entry for entry in _entries(out / folder) if entry.name not in names):
            strangers[_kind(path)] += 1
            example = example or path
    return _Checked(counts, strangers, example)


def _report_strangers(out: Path, found: Sequence[_Checked], counts: Counts, request: Request, notice: Notice) -> None:
    """Report the files that lie in the folders of the splits and that the manifest does not count."""
    strangers, example = Counter[str](), ""
    for checked in found:
        strangers += checked.strangers
        example = example or checked.example
    for split in sorted({folder.partition("/")[0] for folder in counts}):
        labelled = any(folder.startswith(f"{split}/") for folder in counts)
        for entry in _entries(out / split):
            if f"{split}/{entry.name}" in counts or (not labelled and _is_image(entry)):
                continue
            if request.classes is not None and WNID.fullmatch(entry.name) and entry.is_dir():
                continue  # not asked for
            for path in _files([entry]):
                strangers[_kind(path)] += 1
                example = example or path
    if total := strangers.total():
        kinds = ", ".join(f"{number} {kind}" for kind, number in strangers.most_common())
        files = "1 file is" if total == 1 else f"{total} files are"
        notice(f"left alone: {files} no image of the data set: {kinds} (such as {example})")


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _is_image(entry: "os.DirEntry[str]") -> bool:
    return entry.is_file() and not entry.name.startswith(".") and Path(entry.name).suffix.lower() in SUFFIXES


def _files(entries: Iterable["os.DirEntry[str]"]) -> Iterator[str]:
    """Yield the paths of files; of a folder, of all files below it, or its own if it is empty. Links stay unread."""
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            yield entry.path
            continue
        empty = True
        for place, _, names in os.walk(entry.path):
            for name in names:
                empty = False
                yield f"{place}{os.sep}{name}"
        if empty:
            yield entry.path + os.sep


def _kind(path: str) -> str:
    if path.endswith(os.sep):
        return "empty folder"
    return Path(path).suffix.lower() or "no suffix"
