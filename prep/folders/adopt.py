"""Adopting class folders: a source that is the output gets a manifest, and nothing else is written to it.

The folders are the user's own and may be the only copy. So this code only reads: it checks that every image lies
where the manifest says, makes the checks that copying makes, and counts the images. The recogniser counts other files.
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
from ..base.threads import raise_if_stopped, run_all
from ..images.check import refusal
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
        found = run_all([bind(_check_unit, unit, count) for unit in units], workers)
        counts: Counts = {}
        for unit, checked in zip(units, found, strict=True):
            add_counts(counts, unit, checked)
        note_empty_classes(parts, counts, request, notice)
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
