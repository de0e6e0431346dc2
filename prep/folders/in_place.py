"""Labelled images that stay where they lie: their folder gets a manifest, and lists of the images where one is needed.

The folder is the user's own. So nothing in it is changed, moved or deleted: ``manifest.json`` and ``<split>.jsonl`` are
the only files that appear, and only where no file of that name was. Every image is read and checked as in copying.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial as bind
from pathlib import Path
from typing import Any

from ..base.errors import OutputError, SourceError
from ..base.manifest import MANIFEST, SHARDS, Manifest, Split
from ..base.output import PARTIAL
from ..base.progress import Progress, counter
from ..images.check import refusal
from ..images.files import image_files
from ..labelled.images import LabelledSource
from ..processes.threads import raise_if_stopped, run_all
from ..roots.lists import ListedImage, list_path, write_list
from ..sources.parts import SourceImage
from ..sources.reader import Reader
from .disk_names import difference, twins
from .plan import UNLABELLED, Group, Plan

CHUNK = 256  # images of one task


def is_in_place(sources: Sequence[LabelledSource], out: Path) -> bool:
    """Return whether the only source is the output itself.

    Raises SourceError if it is one of several, OutputError if the output lies in a source.
    """
    folders = list(dict.fromkeys(source.path for source in sources if source.path.is_dir()))
    same = [folder for folder in folders if out.is_dir() and folder.samefile(out)]
    if same and (len(sources) > len(folders) or len(folders) > 1):
        raise SourceError(f"{out} is the output and one of several sources; give it alone, or choose another --out")
    for folder in folders:
        if not same and out.resolve().is_relative_to(folder.resolve()):
            raise OutputError(
                f"{out} lies in the source {folder}; choose a directory outside of it, or use the images where they "
                f"lie: --out {folder}"
            )
    return bool(same)


def check_place(plan: Plan, out: Path, before: Manifest | None) -> None:
    """Raise an error if the images cannot be used where they lie, before anything is written."""
    source = plan.sources[0].path
    for split, label in plan.groups:
        number, row = plan.members((split, label))[0]
        name = plan.rows[number][row].name
        if name.partition("/")[0].lower() == SHARDS:
            raise OutputError(
                f"{out / SHARDS} holds images, and feedline puts shards there; copy the images with another --out"
            )
    for split in plan.splits:
        path = list_path(out, split)
        if path.exists() and not (before and split in before.splits) and not (out / PARTIAL).exists():
            raise OutputError(f"{path} is there already, and is not of feedline; copy the images with another --out")
    found = twins(plan.classes)
    if found and _ignores_case(source):
        raise SourceError(
            f"the classes {found[0]!r} and {found[1]!r} differ only {difference(*found)}, and the disk of {source} "
            f"takes them for one; rename one of them"
        )


def list_in_place(plan: Plan, out: Path, before: Manifest | None) -> dict[str, Split]:
    """Write the lists that are needed, and return the splits.

    An earlier manifest goes first: were the run killed here, it would stand next to lists of another division.
    """
    (out / MANIFEST).unlink(missing_ok=True)
    for split, held in (before.splits if before else {}).items():
        if held.listed or held.columns:
            list_path(out, split).unlink(missing_ok=True)
    return {split: _split(plan, out, split) for split in plan.splits}


def check_images(plan: Plan, workers: int, progress: Progress) -> None:
    """Read every image. Raises SourceError for one that copying would refuse."""
    total = sum(size for split in plan.splits for size in plan.sizes(split))
    count = counter(progress, "check images, MB", total, 10**6)
    tasks = [
        bind(_check, plan, members[start : start + CHUNK], count)
        for members in map(plan.members, plan.groups)
        for start in range(0, len(members), CHUNK)
    ]
    run_all(tasks, workers)


def _check(plan: Plan, members: Sequence[tuple[int, int]], count: Callable[[int], None], stop: threading.Event) -> None:
    with Reader() as reader:
        for source, row in members:
            raise_if_stopped(stop)
            rows = plan.rows[source]
            image = SourceImage("", rows.size(row), rows.location(row), rows.where(row))
            if problem := refusal(image.read(reader)):
                raise SourceError(f"{image.where} {problem}")
            count(image.size)


def _split(plan: Plan, out: Path, split: str) -> Split:
    folder = _folder_of(plan, out, split)
    columns = plan.columns(split)
    if folder is None or columns:
        write_list(list_path(out, split), _lines(plan, out, split, columns))
    sizes = list(plan.sizes(split))
    return Split(
        images=len(sizes),
        bytes=sum(sizes),
        per_class=plan.per_class(split),
        folder=None if folder == split else folder,
        listed=folder is None,
        columns=columns,
    )


def _lines(plan: Plan, out: Path, split: str, columns: Sequence[str]) -> Iterator[ListedImage]:
    """Yield the lines of a list in the order of the sample indexes."""
    for label in (UNLABELLED, *plan.class_indexes):
        members = [(_name(plan, out, member), *member) for member in plan.members((split, label))]
        for name, source, row in sorted(members, key=lambda item: item[0].rpartition("/")[::-2]):
            values: Mapping[str, Any] = plan.rows[source].columns(row)
            class_id = "" if label == UNLABELLED else plan.classes[label]
            yield ListedImage(name, class_id, {column: values.get(column) for column in columns})


def _name(plan: Plan, out: Path, member: tuple[int, int]) -> str:
    """Return an image's path below the root."""
    source, row = member
    place, within, _ = plan.rows[source].location(row)
    if not isinstance(within, str):
        raise SourceError(
            f"{plan.rows[source].where(row)} lies in an archive; choose another --out, to copy the images"
        )
    for root in (plan.sources[source].path, out):
        if place.is_relative_to(root):
            return "/".join((*place.relative_to(root).parts, within))
    raise SourceError(f"{place / within} does not lie in {out}; choose another --out, to copy the images")


def _folder_of(plan: Plan, out: Path, split: str) -> str | None:
    """Return the folder whose class folders hold the split and nothing else; None if it needs a list."""
    parent = None
    for group in plan.groups:
        if group[0] != split:
            continue
        found = _parent_of(plan, out, group)
        if not found or parent not in (None, found):
            return None
        parent = found
    return parent


def _parent_of(plan: Plan, out: Path, group: Group) -> str | None:
    """Return the folder that holds the class folder of a group, if that folder holds the images of the group alone."""
    label = group[1]
    own = [] if label == UNLABELLED else [plan.classes[label]]
    folders: set[str] = set()
    names: set[str] = set()
    for member in plan.members(group):
        folder, _, name = _name(plan, out, member).rpartition("/")
        folders.add(folder)
        names.add(name)
    if len(folders) != 1:
        return None
    (folder,) = folders
    parts = folder.split("/")
    if own and ("/" in own[0] or parts[-1] != own[0]):
        return None
    if names != {entry.name for entry in image_files(out.joinpath(*parts))}:
        return None
    return "/".join(parts[: len(parts) - len(own)])


def _ignores_case(folder: Path) -> bool:
    """Whether the disk of a folder takes names for one that differ in case."""
    other = folder.with_name(folder.name.swapcase())
    return other.name != folder.name and other.exists() and other.samefile(folder)
