"""Writing class folders from archives: units that appear whole, side by side, and are never done twice.

A unit is one folder (a class of train, or the whole of val): it is written under ``.partial/`` and moved into place
by one rename, so a folder that exists is complete. A run that was killed is continued by running it again:
finished units are compared with the archive by names and sizes, and not read again. Threads suffice, because
reading and writing files releases the GIL.
"""

import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from .errors import OutputError
from .manifest import Split
from .pool import check, run_all

Report = Callable[[int], None]
Counts = dict[str, tuple[int, int]]  # folder below the root, such as "val/n01440764": (pictures, bytes)


@dataclass(frozen=True)
class Picture:
    """One file of a unit: its path below the unit's folder, its size, and how to read it."""

    path: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Unit:
    """A folder below the root that is written as a whole."""

    folder: str
    """Such as "train/n01440764", with forward slashes."""
    pictures: Callable[[], Iterator[Picture]]


def write_units(root: Path, partial: Path, units: Sequence[Unit], workers: int, report: Report) -> Counts:
    """Write all units with ``workers`` threads and return the pictures and bytes of every folder.

    ``report`` is told the bytes of each picture. The first error stops the others within one picture and is
    raised; so does Ctrl-C. Finished units stay.
    """
    tasks = [bind(_write_unit, root, partial, unit, report) for unit in units]
    return {folder: count for counts in run_all(tasks, workers) for folder, count in counts.items()}


def split_of(counts: Counts, split: str, classes: Sequence[str]) -> Split:
    """Return a split's totals and its pictures per class; an unlabelled split is given no ``classes``."""
    found = [count for folder, count in counts.items() if folder.partition("/")[0] == split]
    return Split(
        images=sum(images for images, _ in found),
        bytes=sum(size for _, size in found),
        per_class=tuple(counts.get(f"{split}/{wnid}", (0, 0))[0] for wnid in classes),
    )


def classes_in(counts: Counts) -> set[str]:
    """Return the class folders among the counts."""
    return {folder.partition("/")[2] for folder in counts} - {""}


def _write_unit(root: Path, partial: Path, unit: Unit, report: Report, stop: threading.Event) -> Counts:
    target, temporary = root / unit.folder, partial / unit.folder
    if target.is_dir():
        return _count_finished(target, unit, report)
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    counts: Counts = defaultdict(lambda: (0, 0))
    for picture in unit.pictures():
        check(stop)
        path = temporary / picture.path
        if picture.path.count("/") and not path.parent.is_dir():
            path.parent.mkdir()
        with path.open("xb") as file:
            file.write(picture.read())
        _add(counts, unit, picture)
        report(picture.size)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(target)
    return dict(counts)


def _count_finished(target: Path, unit: Unit, report: Report) -> Counts:
    """Return a finished unit's counts; raise OutputError when it is not what the archive holds."""
    counts: Counts = defaultdict(lambda: (0, 0))
    found = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    for picture in unit.pictures():
        path = found.pop(picture.path, None)
        if path is None or path.stat().st_size != picture.size:
            raise OutputError(f"{target / picture.path} differs from the archive; delete {target} and run again")
        _add(counts, unit, picture)
        report(picture.size)
    if found:
        raise OutputError(f"{target / next(iter(found))} is not in the archive; delete {target} and run again")
    return dict(counts)


def _add(counts: Counts, unit: Unit, picture: Picture) -> None:
    folder = f"{unit.folder}/{picture.path}".rpartition("/")[0]
    images, size = counts[folder]
    counts[folder] = (images + 1, size + picture.size)
