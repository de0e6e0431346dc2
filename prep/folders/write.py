"""Writing class folders: units that appear by rename, side by side, and are never done twice.

A unit is either a folder of its own (a class of train) or a piece that shares its folders with others (a flat
archive, one of several downloads; see ``pieces``). Both are written under ``.partial/``. A folder moves into place by
one rename when it is whole and its bytes are on the disk; pieces leave a note when they are, and move when all of them
are. So whatever exists under its final name is complete, after a power cut too. A run that was killed is continued by
running it again. What it finds is compared with the source byte by byte, and written again if it differs. Threads
suffice, because reading and writing files releases the GIL: classes are written side by side, and of a piece, which has
to be read in order, the files are handed to writers in batches.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial as bind
from pathlib import Path
from threading import Event

from ..base.disks import remove_tree
from ..base.errors import OutputError
from ..base.flush import Settling
from ..base.manifest import Split
from ..base.output import held_before
from ..base.paths import below
from ..base.retries import put_in_place
from ..processes.threads import raise_if_stopped, run_all
from ..sources.parts import Counts, Unit, add_counts, distinct
from ..sources.reader import Reader
from .files import Report, Target, count_image, holds, read_checked, write_files
from .pieces import merge_piece, write_piece


def write_units(
    root: Path,
    partial: Path,
    units: Sequence[Unit],
    workers: int,
    report: Report,
    check: Callable[[Counts], object] = bool,
) -> Counts:
    """Write all units with ``workers`` threads and return the files and bytes of every folder.

    ``report`` receives the bytes of each file. The first error stops the others within one file and is raised;
    so does Ctrl-C. Finished units stay. Raises SourceError for a file that is no image, or comes twice. ``check``
    receives the counts before a piece moves to its place; if it raises, none moves.
    """
    notes = [partial / f"piece-{number:04d}.json" for number in range(len(units))]
    target = Target(root, partial, held_before(partial), report, Settling(root))
    counts: Counts = {}
    with ThreadPoolExecutor(max(1, workers)) as writers:
        tasks = [
            bind(write_piece, target, writers, note, unit) if unit.shared else bind(_write_folder, target, unit)
            for note, unit in zip(notes, units, strict=True)
        ]
        try:
            results = run_all(tasks, workers)
        except BaseException:
            with suppress(OSError):  # the first error counts
                target.settling.finish()
            raise
        target.settling.finish()
    for unit, found in zip(units, results, strict=True):
        add_counts(counts, unit, found)
        if unit.shared:
            target.check_free(found)
    check(counts)
    for unit, note in zip(units, notes, strict=True):
        if unit.shared:
            merge_piece(note.with_suffix(""), root / unit.folder)
    return counts


def check_on_disk(root: Path, counts: Counts) -> None:
    """Raise OutputError unless the folders hold as many files and bytes as were written, and no class but those."""
    for folder, expected in counts.items():
        with os.scandir(root / folder) as entries:
            sizes = [entry.stat().st_size for entry in entries if entry.is_file()]
        if (len(sizes), sum(sizes)) != expected:
            raise OutputError(
                f"{root / folder} holds {len(sizes)} files of {sum(sizes)} bytes, the sources {expected[0]} of "
                f"{expected[1]}: something else writes there; stop it and choose another directory with --out"
            )
    for split in {folder.partition("/")[0] for folder in counts}:
        with os.scandir(root / split) as entries:
            others = sorted(e.name for e in entries if e.is_dir() and f"{split}/{e.name}" not in counts)
        if others:
            raise OutputError(
                f"{root / split / others[0]} is in none of the sources; if an earlier run wrote it, move it elsewhere "
                f"and run the same command again; else something else writes there: stop it and choose another "
                f"directory with --out"
            )


def split_of(counts: Counts, split: str, classes: Sequence[str]) -> Split:
    """Return a split's totals and its images per class; an unlabelled split is given no ``classes``."""
    found = [count for folder, count in counts.items() if _inside(folder, split)]
    return Split(
        images=sum(images for images, _ in found),
        bytes=sum(size for _, size in found),
        per_class=tuple(counts.get(f"{split}/{wnid}", (0, 0))[0] for wnid in classes),
    )


def _inside(folder: str, split: str) -> bool:
    return folder == split or folder.startswith(split + "/")


def _write_folder(target: Target, unit: Unit, stop: Event) -> Counts:
    final, temporary = target.root / unit.folder, target.partial / unit.folder
    target.check_free([unit.folder])
    if final.is_dir():
        found = _compare_finished(final, unit, stop)
        if found is not None:
            target.report(sum(size for _, size in found.values()))
            return found
    if temporary.exists():
        remove_tree(temporary)
    temporary.mkdir(parents=True)
    counts: Counts = {}
    with Reader(buffered=True) as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            path = below(temporary, image.path)
            if count_image(unit, image, counts):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_files([(path, read_checked(unit, image, reader))])
            target.report(image.size)
    size = sum(size for _, size in counts.values())
    target.settling.add(size, bind(_put_folder, temporary, final), final.parent)
    return counts


def _put_folder(temporary: Path, final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.is_dir():  # written by a run before, and found to differ from the source
        remove_tree(final)
    put_in_place(temporary, final)


def _compare_finished(final: Path, unit: Unit, stop: Event) -> Counts | None:
    """Return the counts of a finished folder, None if a file of it is not what the source holds.

    Raises OutputError for a file that the source does not hold: no run of feedline wrote it.
    """
    counts: Counts = {}
    found = {path.relative_to(final).as_posix(): path for path in final.rglob("*") if path.is_file()}
    same = True
    with Reader(buffered=True) as reader:
        for image in distinct(unit, reader):
            raise_if_stopped(stop)
            path = found.pop(image.path, None)
            same = same and path is not None and holds(path, image.read(reader))
            count_image(unit, image, counts)
    if found:
        first = final / next(iter(found))
        these = f"{first} is not in the source; move it"
        if len(found) > 1:
            these = f"{first} and {len(found) - 1} more are not in the source; move {final}"
        raise OutputError(f"{these} elsewhere, then run the same command again")
    return counts if same else None
