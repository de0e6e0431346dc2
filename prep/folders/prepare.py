"""Writing recognised sources to a dataset root: checks first, images next, the manifest last.

The order matters. Everything that can be known beforehand (conflicts, labels that
contradict each other, free space) is checked before the first byte is written; what can only be known afterwards
(counts, md5) before the manifest is, and without a manifest nothing uses the directory.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from ..archives.checksums import Md5s
from ..base.errors import OutputError, SourceError
from ..base.lock import claimed
from ..base.manifest import MANIFEST, Manifest, read_manifest
from ..base.output import PARTIAL, finish_output, remove_partial, require_room, sources_may_be_repaired, start_output
from ..base.progress import Notice, Progress, counter
from ..labels.completeness import CLASSES, check_md5
from ..limits.cpus import usable_cpus
from ..shards.current import stale_shards
from ..sources.agreement import agreed_parts, check_complete, report_left_out, report_subset, units_of
from ..sources.label_lists import LabelList
from ..sources.parts import Counts, Part
from ..sources.recognised import Recognised
from ..sources.request import Request
from .adopt import adopt
from .classes import check_asked, check_listed, check_not_empty, note_differences, note_empty_classes
from .deletion import check_deletable, delete_sources
from .root import clear_leftover, finished, is_adopted, is_recorded, job_of, manifest_of, renamed, with_folders
from .write import check_on_disk, write_units


def prepare(
    found: Recognised, out: Path, request: Request, *, workers: int | None, progress: Progress, notice: Notice
) -> Manifest:
    """Write class folders and the manifest to ``out``. An interrupted run continues, a finished one is kept.

    Raises SourceError for sources that contradict each other or are damaged, OutputError when ``out`` holds
    something else or has no room.
    """
    workers = workers or usable_cpus()
    parts = agreed_parts(found, request, notice)
    dataset = parts[0].dataset
    if request.delete_source:
        check_deletable(found, request)
    _refuse_own_folders(parts, out, request)
    with claimed(out, request.command):
        return _prepare(found, parts, dataset, out, request, workers, progress, notice)


def _refuse_own_folders(parts: Sequence[Part], out: Path, request: Request) -> None:
    """Raise OutputError if the sources are the split folders of ``out`` itself: ``out`` is then what to give."""
    if (out / MANIFEST).exists() or (out / PARTIAL).exists():
        return
    places = [(part.source.resolve(), part.splits) for part in parts if part.source.is_dir()]
    if len(places) == len(parts) and all(
        place.parent == out.resolve() and place.name in splits for place, splits in places
    ):
        raise OutputError(
            f"{out} is the folder of the sources themselves; to use them in place, give it as the source: "
            f"feedline {request.command} {out} --out {out}"
        )


def _prepare(
    found: Recognised,
    parts: Sequence[Part],
    dataset: str,
    out: Path,
    request: Request,
    workers: int,
    progress: Progress,
    notice: Notice,
) -> Manifest:
    """Write what ``out`` lacks of the parts, while no other process writes there."""
    before = finished(out, parts, dataset, request)
    if before is not None:
        clear_leftover(out, before)
    todo = [part for part in parts if before is None or not is_recorded(before, part, request)]
    if todo or before is None:
        if request.classes is not None:
            check_listed(todo, before, request)
        digests, counts, folders = _make(todo, found.label_lists, out, request, workers, progress, notice)
        manifest = with_folders(manifest_of(todo, counts, dataset, before, digests, request), folders)
        check_asked(request, (entry.id for entry in manifest.classes))
        note_differences(manifest, notice)
        finish_output(out, manifest)
        if problem := stale_shards(out):
            notice(f"the shards are now old: {problem}")
    else:
        manifest = renamed(out, before, request)
    report_left_out(found, notice)
    if request.classes is None:
        report_subset(parts, len(manifest.classes), notice)
    if request.delete_source:
        unread = [part for part in parts if part not in todo]
        delete_sources(found, unread, out, request, workers, progress, notice)
    return manifest


def _make(
    parts: Sequence[Part],
    label_lists: Sequence[LabelList],
    out: Path,
    request: Request,
    workers: int,
    progress: Progress,
    notice: Notice,
) -> tuple[Mapping[Path, str], Counts, Mapping[str, str]]:
    """Write or adopt the parts' class folders.

    Returns the md5 of the archives, the counts of the folders, and {split: its folder} where that is not its name.
    """
    if is_adopted(out, parts):
        counts, folders = adopt(parts, out, request, workers, progress, notice)
        try:
            check_complete(parts, counts, label_lists, request)
        except SourceError:
            remove_partial(out)
            raise
        return {}, counts, folders
    digests, counts = _write(parts, label_lists, out, request, workers, progress, notice)
    return digests, counts, {}


def _write(
    parts: Sequence[Part],
    label_lists: Sequence[LabelList],
    out: Path,
    request: Request,
    workers: int,
    progress: Progress,
    notice: Notice,
) -> tuple[Mapping[Path, str], Counts]:
    """Write the parts' class folders and return the md5 of the archives and what was written."""
    total = sum(part.size for part in parts)
    if not (out / PARTIAL).exists():
        # A subset of an archive cannot be weighed before it is read; its share of ImageNet's classes comes close.
        share = min(1, len(request.classes) / CLASSES) if request.classes else 1
        require_room(out, int(total * share), int(sum(part.files for part in parts) * share))
    units = [unit for part in parts for unit in units_of(part, request)]
    job = job_of(parts, request)
    partial = start_output(out, job)
    archives = [part.source for part in parts if part.source.is_file()] if request.checksum == "md5" else []
    digests: dict[Path, str] = {}
    with (
        sources_may_be_repaired(out, job),
        Md5s(tuple(dict.fromkeys(archives))) if archives else nullcontext() as md5s,
    ):
        count = counter(progress, "class folders, MB", total, 10**6)

        def report(more: int) -> None:
            count(more)
            if md5s:
                md5s.advance(more)

        def check(counts: Counts) -> None:
            digests.update(md5s.digests() if md5s else {})
            note_empty_classes(parts, counts, request, notice)
            try:
                check_not_empty(counts, request)
            except SourceError:
                remove_partial(out)
                raise
            held = read_manifest(out).classes if (out / MANIFEST).is_file() else ()
            check_asked(request, {*(entry.id for entry in held), *(folder.partition("/")[2] for folder in counts)})
            for source, split in check_complete(parts, counts, label_lists, request).items():
                if source in digests:
                    check_md5(split, source, digests[source])

        counts = write_units(out, partial, units, workers, report, check)
    for folder, (images, _) in counts.items():
        if not images:  # a class without an image
            (out / folder).mkdir(parents=True, exist_ok=True)
    check_on_disk(out, counts)
    return digests, counts
