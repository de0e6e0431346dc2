"""Writing labelled images of any source to a dataset root: class folders, lists of columns, and the manifest.

What holds for ImageNet's archives holds here: everything that names can show is checked first, images appear whole,
a run that was killed is continued and compares what it finds with the source, and the manifest comes last. A finished
root records a digest of each split of each source, so that the same command leaves it as it is.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial as bind
from pathlib import Path
from typing import Any

from ..base.documents import read_document
from ..base.errors import OutputError, SourceError
from ..base.lock import claimed
from ..base.manifest import MANIFEST, ClassEntry, Manifest, Source, Split, read_manifest
from ..base.output import (
    JOB,
    PARTIAL,
    OutputJob,
    finish_output,
    remove_partial,
    require_room,
    sources_may_be_repaired,
    start_output,
)
from ..base.paths import reachable
from ..base.progress import Notice, Progress, counter, quiet, silent
from ..checking.notes import note_images
from ..labelled.images import LabelledSource
from ..labelled.request import LabelledRequest
from ..limits.cpus import usable_cpus
from ..roots.lists import ListedImage, list_path, write_list
from ..shards.current import stale_shards
from ..sources.naming import SPLITS
from ..sources.parts import SourceImage, Unit
from ..sources.reader import Reader
from .classes import listed, note_differences
from .dataset_names import dataset_name
from .disk_names import flattened
from .in_place import check_images, check_place, is_in_place, list_in_place
from .plan import UNLABELLED, Plan, exceptions, make_plan
from .write import check_on_disk, write_units

Records = dict[tuple[int, str], Source]
"""{(source, split): what the manifest records of it}."""


def prepare_labelled(
    sources: Sequence[LabelledSource],
    out: Path,
    request: LabelledRequest,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    notice: Notice = quiet,
) -> Manifest:
    """Write class folders and the manifest to ``out`` from recognised sources. An interrupted run continues.

    Images with further values (columns) are listed in ``out/<split>.jsonl`` too.

    Raises SourceError for sources that contradict each other or are damaged, OutputError when ``out`` holds something
    else or has no room.
    """
    out, workers = reachable(out), workers or usable_cpus()
    in_place = is_in_place(sources, out)
    _report(sources, notice)
    with make_plan(sources, request, progress, copied=not in_place) as plan:
        _report_plan(plan, notice)
        with claimed(out, request.command):
            manifest = (_use_in_place if in_place else _prepare)(plan, out, request, workers, progress, notice)
    note_differences(manifest, notice)
    note_images(out, manifest, notice)
    return manifest


def _prepare(
    plan: Plan, out: Path, request: LabelledRequest, workers: int, progress: Progress, notice: Notice
) -> Manifest:
    records = records_of(plan)
    before = read_manifest(out) if (out / MANIFEST).is_file() else None
    if before is not None:
        _clear_leftover(out, before)
    todo = _todo(out, before, records)
    if before is not None and not todo:
        notice(f"{out} holds this already, by the names and sizes of the images; nothing was written")
        return before
    classes = _all_classes(out, plan, before)
    job = job_of(todo, request)
    with sources_may_be_repaired(out, job):
        counts = _write(plan, todo, out, job, workers, progress)
    splits: dict[str, Split] = {}
    for split in dict.fromkeys(split for _, split in todo):
        columns = plan.columns(split)
        if columns:
            write_list(list_path(out, split), _copied(plan, split, columns))
        held = [size for folder, size in counts.items() if folder.partition("/")[0] == split]
        splits[split] = Split(
            images=sum(images for images, _ in held),
            bytes=sum(size for _, size in held),
            per_class=_widened(plan.per_class(split), plan.classes, classes),
            columns=columns,
        )
    manifest = manifest_of(plan, splits, todo, classes, before, request, plan.folders())
    finish_output(out, manifest)
    if problem := stale_shards(out):
        notice(f"the shards are now old: {problem}")
    return manifest


def _use_in_place(
    plan: Plan, out: Path, request: LabelledRequest, workers: int, progress: Progress, notice: Notice
) -> Manifest:
    """Write the manifest of images that stay where they are, and the lists that it needs."""
    records = records_of(plan)
    before = read_manifest(out) if (out / MANIFEST).is_file() else None
    if before is not None and {source.digest for source in records.values()} == {s.digest for s in before.sources}:
        notice(f"{out} is prepared already; nothing was written")
        return before
    check_place(plan, out, before)
    notice(f"{out} is used where it lies: nothing is copied, and only {MANIFEST} and lists of images are written there")
    start_output(out, job_of(records, request, adopts=True))
    try:
        check_images(plan, workers, progress)
        splits = list_in_place(plan, out, before)
    except BaseException:
        remove_partial(out)
        raise
    manifest = manifest_of(plan, splits, records, plan.classes, None, request, {})
    finish_output(out, manifest)
    if problem := stale_shards(out):
        notice(f"the shards are now old: {problem}")
    return manifest


def records_of(plan: Plan) -> Records:
    """Return what the manifest records of each split of each source."""
    held: dict[tuple[int, str], int] = {}
    for (split, _), parts in plan.groups.items():
        for source, rows in parts:
            size = sum(plan.rows[source].size(row) for row in rows)
            held[source, split] = held.get((source, split), 0) + size
    records: Records = {}
    for source, split in sorted(held, key=lambda key: (SPLITS.index(key[1]), key[0])):
        found = plan.sources[source]
        name = found.path.resolve().name.encode("utf-8", "replace").decode()  # JSON holds no surrogates
        digest = plan.digest(source, split)
        records[source, split] = Source(
            name=name, bytes=held[source, split], layout=found.layout, splits=(split,), digest=digest
        )
    return records


def job_of(records: Records, request: LabelledRequest, *, adopts: bool = False) -> OutputJob:
    """Return the description of an unfinished run. A digest depends on all options that choose and arrange images."""
    lines = [f"{source.name} {' '.join(source.splits)} {source.digest}" for source in records.values()]
    return OutputJob(command=request.command, settings={"sources": lines, **request.settings}, adopts=adopts)


def manifest_of(
    plan: Plan,
    splits: Mapping[str, Split],
    records: Records,
    classes: tuple[str, ...],
    before: Manifest | None,
    request: LabelledRequest,
    folders: Mapping[str, str],
) -> Manifest:
    """Return the manifest of ``splits`` and of those that were there before."""
    known = {entry.id: entry for entry in (before.classes if before else ())}
    names = {name: text for source in plan.sources for name, text in source.names.items()}
    entries = tuple(
        replace(known[name], name=names.get(name, known[name].name))
        if name in known
        else ClassEntry(id=name, name=names.get(name, name), folder=_unless_same(folders.get(name), name))
        for name in classes
    )
    old = tuple(known)
    earlier = {
        name: replace(split, per_class=_widened(split.per_class, old, classes))
        for name, split in (before.splits.items() if before else ())
    }
    ordered = {**earlier, **splits}
    return Manifest(
        dataset=before.dataset if before else dataset_name(plan.sources, request),
        classes=entries,
        splits={name: ordered[name] for name in sorted(ordered, key=_place_of)},
        sources=(*(before.sources if before else ()), *records.values()),
    )


def _place_of(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def _unless_same(folder: str | None, name: str) -> str | None:
    return None if folder == name else folder


def _widened(per_class: tuple[int, ...], old: Sequence[str], new: Sequence[str]) -> tuple[int, ...]:
    """Return the images of each class over a list of classes that may have grown."""
    if not per_class:
        return ()
    held = dict(zip(old, per_class, strict=True))
    return tuple(held.get(name, 0) for name in new)


def _todo(out: Path, before: Manifest | None, records: Records) -> Records:
    """Return the records that the root lacks; raise OutputError if it holds such a split of another source."""
    done = {source.digest for source in (before.sources if before else ())} - {None}
    todo = {key: source for key, source in records.items() if source.digest not in done}
    again = sorted({split for _, split in todo} & set(before.splits if before else ()))
    if again:
        assert before
        names = ", ".join(dict.fromkeys(source.name for source in before.sources))
        raise OutputError(
            f"{out} holds {', '.join(again)} of {names}, not of these sources and options as they are now; "
            f"choose another directory with --out"
        )
    return todo


def _all_classes(out: Path, plan: Plan, before: Manifest | None) -> tuple[str, ...]:
    """Return the classes of the root before and of the plan. Raises OutputError if their order contradicts."""
    if before is None:
        return plan.classes
    old = tuple(entry.id for entry in before.classes)
    new = set(plan.classes)
    if new <= set(old) and (not plan.numbered or plan.classes == tuple(filter(new.__contains__, old))):
        return old
    if plan.numbered or old != tuple(sorted(old)):
        raise OutputError(
            f"{out} numbers its classes otherwise (the first are {listed(old)}); choose another directory with --out"
        )
    return tuple(sorted({*old, *plan.classes}))


def _clear_leftover(out: Path, before: Manifest) -> None:
    """Remove what a run left that was killed between its manifest and the end; another unfinished run stays."""
    job = out / PARTIAL / JOB
    if job.is_file():
        lines = read_document(job, OutputJob).settings.get("sources")
        done = {source.digest for source in before.sources}
        if isinstance(lines, list) and {line.rpartition(" ")[2] for line in lines} <= done:
            remove_partial(out)


def _write(
    plan: Plan, todo: Records, out: Path, job: OutputJob, workers: int, progress: Progress
) -> dict[str, tuple[int, int]]:
    """Write the class folders of ``todo`` and return the files and bytes of each."""
    total = sum(source.bytes for source in todo.values())
    units = list(_units(plan, todo))
    if not (out / PARTIAL).exists():
        files = sum(len(rows) for (split, _), parts in plan.groups.items() for n, rows in parts if (n, split) in todo)
        require_room(out, total, files)
    partial = start_output(out, job)
    counts = write_units(out, partial, units, workers, counter(progress, "class folders, MB", total, 10**6))
    check_on_disk(out, counts)
    return counts


def _units(plan: Plan, todo: Records) -> Iterator[Unit]:
    """Yield a unit for each class folder; one for all of a source that is read from front to back."""
    folders = plan.folders()
    streamed = {number for number, source in enumerate(plan.sources) if source.streamed}
    for group, parts in plan.groups.items():
        split, label = group
        folder = split if label == UNLABELLED else f"{split}/{folders[plan.classes[label]]}"
        held = [source for source, _ in parts if (source, split) in todo]
        for source in set(held) - streamed:
            yield Unit(folder, bind(_images_of_group, plan, group, source), shared=len(held) > 1)
    other_names = exceptions(plan) if streamed else {}
    for source in sorted(streamed & {number for number, _ in todo}):
        wanted = [split for number, split in todo if number == source]
        yield Unit("", bind(_streamed_images, plan, source, wanted, folders, other_names), shared=True)


def _images_of_group(plan: Plan, group: tuple[str, int], source: int, reader: Reader) -> Iterator[SourceImage]:
    rows = plan.rows[source]
    mine = [(name, row) for name, of, row in plan.targets(group) if of == source]
    for name, row in sorted(mine, key=lambda item: item[1]):  # in the order in which they lie
        yield SourceImage(name, rows.size(row), rows.location(row), rows.where(row))


def _streamed_images(
    plan: Plan,
    source: int,
    splits: Sequence[str],
    folders: Mapping[str, str],
    other_names: Mapping[tuple[int, int], str],
    reader: Reader,
) -> Iterator[SourceImage]:
    rows, found = plan.rows[source], plan.sources[source]
    places: list[str] = []
    place = array("i", [-1]) * len(rows)  # of each row
    for (split, label), parts in plan.groups.items():
        if split in splits:
            for row in (row for number, held in parts if number == source for row in held):
                place[row] = len(places)
            places.append(split if label == UNLABELLED else f"{split}/{folders[plan.classes[label]]}")
    for row, image in rows.check(found.images(reader), found.path):
        if place[row] >= 0:
            name = other_names.get((source, row)) or flattened(rows[row].below)
            yield SourceImage(f"{places[place[row]]}/{name}", image.size, image.data, image.where)


def _copied(plan: Plan, split: str, columns: Sequence[str]) -> Iterator[ListedImage]:
    """Yield the lines of a split that was copied, in the order of the sample indexes."""
    folders = plan.folders()
    for label in (UNLABELLED, *plan.class_indexes):
        name = "" if label == UNLABELLED else plan.classes[label]
        folder = split if label == UNLABELLED else f"{split}/{folders[name]}"
        for target, source, row in plan.targets((split, label)):
            values: Mapping[str, Any] = plan.rows[source].columns(row)
            yield ListedImage(f"{folder}/{target}", name, {column: values.get(column) for column in columns})


def _report(sources: Sequence[LabelledSource], notice: Notice) -> None:
    if not sources:
        raise SourceError("there is no source; give a folder, an archive or a list of images")
    for source in sources:
        for note in source.notes:
            notice(note)
        if source.left_out:
            files = sum(int(kind.partition(" ")[0]) for kind in source.left_out)
            notice(f"{source.path}: left out: {files} file{'s' * (files != 1)}: {', '.join(source.left_out)}")


def _report_plan(plan: Plan, notice: Notice) -> None:
    sizes = {split: list(plan.sizes(split)) for split in plan.splits}
    found = ", ".join(f"{split}: {len(held)} images" for split, held in sizes.items())
    layouts = ", ".join(dict.fromkeys(source.layout for source in plan.sources))
    count = len(plan.classes)
    notice(f"{layouts}: {count} class{'es' * (count != 1)} ({listed(plan.classes)}); {found}")
    if count == 1:
        notice("there is 1 class only; training needs two or more")
    if "val" not in sizes and "train" in sizes:
        notice("no split is val, so training cannot be evaluated; take a part of train with: --val-fraction 0.1")
