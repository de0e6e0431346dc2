"""Copies of what cannot be read in a random order: the images of a gzipped tar or a parquet file, as a plain tar.

A copy lies in the output's ``.partial/`` folder, appears there by one rename when it is whole, and is removed with it
at the end. A run that was killed keeps the copies that it finished.
"""

import tarfile
import threading
from collections.abc import Callable
from functools import partial as bind
from io import BytesIO
from pathlib import Path

from ...base.disks import reason_of
from ...base.documents import written_whole
from ...base.errors import OutputError
from ...base.progress import Progress, counter
from ...processes.threads import raise_if_stopped, run_all
from ...sources.parts import Part, distinct
from ...sources.reader import Reader
from .listing import Unprepared


def streamed_parts(source: Unprepared) -> list[Part]:
    """Return the parts that need a copy."""
    return [part for part in source.parts if part.streamed]


def copy_streamed(source: Unprepared, folder: Path, workers: int, progress: Progress) -> dict[Path, Path]:
    """Copy the images of every streamed part to a tar in ``folder`` and return {source: tar}.

    Raises SourceError for a damaged source, OutputError if the copy cannot be written.
    """
    parts = streamed_parts(source)
    copies = {part.source: folder / f"scratch-{number:04d}.tar" for number, part in enumerate(parts)}
    count = counter(progress, "copying, MB", sum(part.size for part in parts), 10**6)
    tasks: list[Callable[[threading.Event], None]] = [
        bind(_copy_part, source, part, copies[part.source], count) for part in parts
    ]
    run_all(tasks, workers)
    return copies


def _copy_part(source: Unprepared, part: Part, copy: Path, count: Callable[[int], None], stop: threading.Event) -> None:
    if copy.is_file():
        count(part.size)
        return
    try:
        # The GNU dialect holds names of any length.
        with written_whole(copy) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            _add_images(source, part, tar, stop)
    except OSError as error:
        raise OutputError(
            f"cannot copy the images of {part.source} to {copy}: {reason_of(error, copy)}; "
            f"make room and run the same command again, finished copies are kept"
        ) from error
    count(part.size)


def _add_images(source: Unprepared, part: Part, tar: tarfile.TarFile, stop: threading.Event) -> None:
    """Add the images of the splits to take; of other splits a folder per class, because they count as classes."""
    others: set[str] = set()
    with Reader(buffered=True) as reader:
        for image, path in (
            (image, f"{unit.folder}/{image.path}".removeprefix("/"))
            for unit in part.units(source.request.keeps)
            for image in distinct(unit, reader)
        ):
            raise_if_stopped(stop)
            member = tarfile.TarInfo(path)
            if path.partition("/")[0] in source.splits:
                member.size = image.size
                tar.addfile(member, BytesIO(image.read(reader)))
            elif (folder := path.rpartition("/")[0]) not in others:
                others.add(folder)
                member.name, member.type = folder, tarfile.DIRTYPE
                tar.addfile(member)
