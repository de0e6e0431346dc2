"""Writing recognised sources to a dataset root: checks first, images next, the manifest last.

The order is what makes the promises true. Everything that can be known beforehand (conflicts, labels that
contradict each other, free space) is checked before the first byte is written; what can only be known afterwards
(counts, md5) before the manifest is, and without a manifest nothing uses the directory.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from ..archives.checksums import Md5s
from ..base.cpus import usable_cpus
from ..base.errors import OutputError, SourceError
from ..base.manifest import Manifest
from ..base.output import PARTIAL, finish_output, mark_as_damaged, require_room, start_output
from ..base.progress import Notice, Progress, counter
from ..checking.verify import verify
from ..labels.completeness import CLASSES, check_bytes, check_counts, check_devkit, check_md5, is_official
from ..sources.class_tars import CLASS_TARS, TRAIN_ARCHIVE
from ..sources.label_lists import LabelList, check_labels
from ..sources.naming import FLAT_TEST, FLAT_TRAIN, FLAT_VAL, HF
from ..sources.parts import IMAGENET, Part
from ..sources.recognise import Recognised
from ..sources.request import Request
from .root import clear_leftover, finished, is_adopted, is_recorded, job_of, manifest_of, renamed
from .write import Counts, Unit, write_units

SEVERAL = (HF, FLAT_TRAIN, CLASS_TARS)  # layouts whose splits come in several sources
OFFICIAL_TARS = (TRAIN_ARCHIVE, FLAT_VAL, FLAT_TEST)


def prepare(
    found: Recognised, out: Path, request: Request, *, workers: int | None, progress: Progress, notice: Notice
) -> Manifest:
    """Write class folders and the manifest to ``out``. An interrupted run continues, a finished one is kept.

    Raises SourceError for sources that contradict each other or are damaged, OutputError when ``out`` holds
    something else or has no room.
    """
    workers = workers or usable_cpus()
    parts = [part for part in found.parts if any(split in request.splits for split in part.splits)]
    parts.sort(key=lambda part: min(map(request.splits.index, set(part.splits) & set(request.splits))))
    _tell(parts, found, notice)
    dataset = _check_parts(parts, request)
    if request.delete_source:
        _check_deletable(found.parts, request)
    for labels in found.label_lists:
        check_labels(labels)
    before = finished(out, parts, dataset, request)
    if before is not None:
        clear_leftover(out, before)
    todo = [part for part in parts if before is None or not is_recorded(before, part, request)]
    if todo or before is None:
        digests, counts = _write(todo, found.label_lists, out, request, workers, progress)
        manifest = manifest_of(todo, counts, dataset, before, digests, request)
        finish_output(out, manifest)
    else:
        manifest = renamed(out, before, request)
    if dataset == IMAGENET and 0 < len(manifest.classes) < CLASSES and request.classes is None:
        notice(f"this is a subset: {len(manifest.classes)} of ImageNet's {CLASSES} classes")
    if request.delete_source:
        _delete(parts, out, workers, progress, notice)
    return manifest


def _tell(parts: Sequence[Part], found: Recognised, notice: Notice) -> None:
    """Say what was recognised: one line per layout and splits, because 294 parquet files are one thing."""
    groups: dict[tuple[str, tuple[str, ...]], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.layout, part.splits), []).append(part)
    for (layout, splits), alike in groups.items():
        which = str(alike[0].source) if len(alike) == 1 else f"{alike[0].source} and {len(alike) - 1} more"
        notice(f"{which}: {layout} ({', '.join(splits)}), {sum(part.size for part in alike) / 1e6:.1f} MB")
    for item in found.label_lists:
        notice(f"{item.where}: classes of {len(item.labels)} validation images, to compare")
    for sentence in found.ignored:
        notice(f"ignored: {sentence}")


def _check_parts(parts: Sequence[Part], request: Request) -> str:
    """Return the data set's name; raise SourceError for sources that do not go together."""
    if not parts:
        raise SourceError(f"the sources hold nothing of {', '.join(request.splits)}; give an archive of it")
    names = {request.dataset or part.dataset for part in parts}
    if len(names) > 1:
        raise SourceError(f"{' and '.join(sorted(names))} are different data sets; prepare each into its own --out")
    seen: dict[str, Part] = {}
    for part in parts:
        for split in part.splits:
            other = seen.setdefault(split, part)
            if other is not part and not (other.layout == part.layout and part.layout in SEVERAL):
                raise SourceError(f"{other.source} and {part.source} are both {split} ({part.layout}); give one")
    return names.pop()


def _check_deletable(parts: Sequence[Part], request: Request) -> None:
    """Raise SourceError when deleting the sources would lose an image, or delete what is no archive."""
    for part in parts:
        if not part.source.is_file():
            raise SourceError(f"{part.source} is a folder, and --delete-source deletes archives only; leave it out")
        if request.classes is not None or not set(part.splits) <= set(request.splits):
            raise SourceError(f"{part.source} holds more than is prepared: --delete-source would lose it; leave it out")


def _write(
    parts: Sequence[Part],
    label_lists: Sequence[LabelList],
    out: Path,
    request: Request,
    workers: int,
    progress: Progress,
) -> tuple[Mapping[Path, str], Counts]:
    """Write the parts' class folders and return the md5 of the archives and what was written."""
    adopt, total = is_adopted(out, parts), sum(part.size for part in parts)
    if not adopt and not (out / PARTIAL).exists():
        # A subset of an archive cannot be weighed before it is read; its share of ImageNet's classes comes close.
        share = min(1, len(request.classes) / CLASSES) if request.classes else 1
        require_room(out, int(total * share), int(sum(part.files for part in parts) * share))
    units = _units(parts, out, adopt, request)
    partial = start_output(out, job_of(parts, request), adopt=adopt)
    archives = [part.source for part in parts if part.source.is_file()] if request.checksum == "md5" else []
    with Md5s(tuple(dict.fromkeys(archives))) if archives else nullcontext() as md5s:
        count = counter(progress, "class folders, MB", total, 10**6)

        def report(more: int) -> None:
            count(more)
            if md5s:
                md5s.advance(more)

        counts = write_units(out, partial, units, workers, report)
        digests = md5s.digests() if md5s else {}
    _check_written(parts, counts, label_lists, digests, out, request)
    return digests, counts


def _units(parts: Sequence[Part], out: Path, adopt: bool, request: Request) -> list[Unit]:
    units: list[Unit] = []
    for part in parts:
        made = part.units(request.keeps)
        if part.layout == TRAIN_ARCHIVE and len(made) == CLASSES and not part.signed and request.checksum != "none":
            check_bytes("train", part.source)
        if adopt and any(unit.shared for unit in made):
            raise SourceError(f"{out} holds images that are in no class folder; choose another directory with --out")
        units += made
    return units


def _check_written(
    parts: Sequence[Part],
    counts: Counts,
    label_lists: Sequence[LabelList],
    digests: Mapping[Path, str],
    out: Path,
    request: Request,
) -> None:
    """Raise SourceError when the whole of ImageNet was to be written and it is not exactly that."""
    if request.checksum == "none" or request.classes is not None or request.dataset:
        return
    for split in request.splits:
        held = [part for part in parts if split in part.splits and part.dataset == IMAGENET and not part.signed]
        if not held:
            continue
        source = held[0].source
        places = [(*folder.partition("/"), files) for folder, (files, _) in counts.items()]
        per_class = {wnid: files for found, _, wnid, files in places if found == split and wnid}
        images = sum(files for found, _, _, files in places if found == split)
        check_counts(split, per_class, images, str(source))
        if held[0].layout in OFFICIAL_TARS and is_official(split, per_class, images):
            check_bytes(split, source)
            if source in digests:
                try:
                    check_md5(split, source, digests[source])
                except SourceError:
                    mark_as_damaged(out, request.command)
                    raise
        for item in label_lists if split == "train" else ():
            check_devkit(item.train_images, per_class, item.where)


def _delete(parts: Sequence[Part], out: Path, workers: int, progress: Progress, notice: Notice) -> None:
    """Delete the sources when every image that was made of them is there and decodes."""
    found = verify(out, decode=True, workers=workers, progress=progress)
    if not found.ok:
        raise OutputError(f"the sources were kept: {found.problems[0]}; see all with: feedline verify {out} --decode")
    for path in dict.fromkeys(part.source for part in parts):
        path.unlink()
        notice(f"deleted {path}: every image made of it is in {out} and decodes")
