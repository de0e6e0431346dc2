"""Adopting class folders: a source that is the output gets a manifest, and nothing else is written to it.

The folders are the user's own and may be the only copy. So this code only reads: it finds the folder of each split,
which need not be called as the split, makes the checks that copying makes, and counts the images. The recogniser
counts other files.

An adoption leaves nothing to continue, because its result is one document. Its job file says that it adopts.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial as bind
from pathlib import Path

from ..base.errors import SourceError
from ..base.output import remove_partial, start_output
from ..base.progress import Notice, Progress, counter
from ..base.shell import shell_word
from ..images.check import refusal
from ..processes.threads import raise_if_stopped, run_all
from ..sources.agreement import units_of
from ..sources.naming import WNID
from ..sources.parts import Counts, Part, SourceImage, Unit, add_counts, distinct
from ..sources.reader import Reader
from ..sources.request import Request
from .classes import note_empty_classes
from .root import job_of

Report = Callable[[int], None]


def adopt(
    parts: Sequence[Part], out: Path, request: Request, workers: int, progress: Progress, notice: Notice
) -> tuple[Counts, dict[str, str]]:
    """Check the images of the parts in ``out``, which is their source.

    Returns the counts of their folders as they are called in a root, and {split: the folder below ``out`` that holds
    it}. ``.partial/`` is there when the function returns, as after writing; it is removed if the function raises.

    Raises SourceError for images that lie elsewhere than the manifest can say, and for an image that copying refuses.
    """
    units = [unit for part in parts for unit in units_of(part, request)]
    folders: dict[str, Path] = {}
    with Reader() as reader:
        for part in parts:
            _check_places(part, out, request, reader, folders)
    start_output(out, replace(job_of(parts, request), adopts=True))
    try:
        count = counter(progress, "class folders, MB", sum(part.size for part in parts), 10**6)
        found = run_all([bind(_check_unit, unit, count) for unit in units], workers)
        counts: Counts = {}
        for unit, checked in zip(units, found, strict=True):
            add_counts(counts, unit, checked)
        note_empty_classes(parts, counts, request, notice)
    except BaseException:
        remove_partial(out)
        raise
    return counts, {split: _below(folder, parts) for split, folder in folders.items()}


def _check_places(part: Part, out: Path, request: Request, reader: Reader, folders: dict[str, Path]) -> None:
    """Raise SourceError unless the class folders of each split lie in one folder, which is added to ``folders``."""
    copy = f"feedline {request.command} {shell_word(part.source)} --out OTHER"
    for unit in units_of(part, request):
        for image in unit.images(reader):
            folder, name = _place_in_root(unit, image)
            split, _, wnid = folder.partition("/")
            place, within, _ = (out, 0, False) if isinstance(image.data, bytes) else image.data
            holder = place.parent if wnid else place
            if within == name and place.name == (wnid or place.name) and folders.setdefault(split, holder) == holder:
                continue
            if isinstance(within, str) and not WNID.fullmatch(place.name) and wnid:
                raise SourceError(
                    f"{out} holds images that are in no class folder; choose another directory with --out, "
                    f"such as OTHER: {copy}"
                )
            raise SourceError(
                f"{image.where} is not in {folders.get(split, out / split) / wnid}, so {out} cannot be used in place; "
                f"copy it with: {copy}"
            )


def _below(folder: Path, parts: Sequence[Part]) -> str:
    """Return the path of a folder below the source, with forward slashes; "." is the source itself."""
    return folder.relative_to(parts[0].source).as_posix()


def _place_in_root(unit: Unit, image: SourceImage) -> tuple[str, str]:
    folder, _, name = f"{unit.folder}/{image.path}".removeprefix("/").rpartition("/")
    return folder, name


def _check_unit(unit: Unit, report: Report, stop: threading.Event) -> Counts:
    counts: Counts = {}
    with Reader() as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            data = image.read(reader)
            if problem := refusal(data):
                raise SourceError(f"{image.where} {problem}")
            folder, _ = _place_in_root(unit, image)
            images, size = counts.get(folder, (0, 0))
            counts[folder] = images + 1, size + image.size
            report(image.size)
    return counts
