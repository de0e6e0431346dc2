"""Writing WebDataset shards: what is read, who writes which shard, and what is left when all are done.

Shards are independent of each other: planned in one place, written side by side, and named, cut and filled by the
source, the seed and the settings alone. Same data and seed, same bytes, whatever the workers. A shard appears by one
rename and the manifest is written last, so an interrupted run continues with the shards it lacks.

Workers are threads. Of the 2 ms that restart markers take an image, 1.6 are compiled code without the GIL, so five
threads are of use, 2500 images/s; ImageNet then takes nine minutes, and a disk must write 290 MB/s to keep up.
"""

import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial as bind
from pathlib import Path
from typing import Literal

from ...base.errors import DatasetError, OutputError
from ...base.lock import claimed
from ...base.manifest import MANIFEST, SHARDS, ShardManifest, ShardSplit, read_shard_manifest
from ...base.output import (
    PARTIAL,
    OutputJob,
    finish_output,
    remove_partial,
    require_room,
    sources_may_be_repaired,
    start_output,
)
from ...base.paths import reachable
from ...base.progress import Notice, Progress, counter, quiet, silent
from ...base.threads import run_all
from ...limits.cpus import usable_cpus
from ...roots.samples import SampleSet
from ..found import is_root
from ..keys import with_keys
from ..sidecars import set_indexes, write_all
from .estimate import announcement, estimate_raw
from .listing import Unprepared, list_source, open_source
from .plan import ShardSpec, plan_shards
from .ray import write_on_ray
from .resharding import shards_in
from .scratch import copy_streamed, streamed_parts
from .shard import ShardTask, Written, tar_size, write_shard

Engine = Literal["local", "ray"]

INDEX_BYTES = 1000  # of all indexes, per image, at most

Plan = Mapping[str, Sequence[ShardTask]]  # the shards of each split


def write_shards(
    source: Path,
    spec: ShardSpec | None = None,
    *,
    out: Path | None = None,
    split_from: Mapping[str, str] | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    progress: Progress = silent,
    notice: Notice = quiet,
) -> ShardManifest:
    """Write shards, their indexes and the manifest to ``out`` (default ``SOURCE/shards``).

    ``source`` is a prepared root, shards with a manifest, wherever they lie, or any source that ``feedline prep``
    takes; what was recognised is reported to ``notice``. ``split_from`` is {name of a folder or archive: "train" or
    "val"} for names that do not say their split. An interrupted run continues with the shards it lacks; finished ones
    are returned as they are. ``workers`` shards are written at once, by threads of this process or by the processes of
    a Ray cluster; None: one per CPU. The bytes are the same. The images of gzipped tars and parquet files are copied to
    ``out`` for the time of the run.

    Raises SourceError for sources that are missing, damaged, foreign, incomplete or contradict each other,
    DatasetError for an unfinished or changed root, OutputError if ``out`` holds
    something else or has no room.
    """
    if out is None and (held := shards_in(source)) is not None:
        raise OutputError(f"{held} holds shards already; say where to write the new ones: --out OTHER/{SHARDS}")
    spec, out = spec or ShardSpec(), out or default_place(source)
    _refuse_pixels(source, spec)
    if engine == "ray":  # whose processes have a working directory of their own
        source, out = source.resolve(), out.resolve()
    source, out = reachable(source), reachable(out)
    opened = open_source(source, spec.splits, notice, skip=out, split_from=split_from)
    job = _job(opened, spec)
    with claimed(out, "shard"), sources_may_be_repaired(out, job):
        return _write(opened, spec, out, job, workers, engine, progress, notice)


def _write(
    opened: SampleSet | Unprepared,
    spec: ShardSpec,
    out: Path,
    job: OutputJob,
    workers: int | None,
    engine: Engine,
    progress: Progress,
    notice: Notice,
) -> ShardManifest:
    """Write the shards that ``out`` lacks, while no other process writes there."""
    fresh = not (out / PARTIAL).exists()
    found = opened if isinstance(opened, SampleSet) else _list(opened, spec, out, job, workers, progress, notice)
    plan = _plan(found, spec)
    _report_aliases(plan, notice)
    if (out / MANIFEST).is_file():
        manifest = _finished(out, found, spec, plan)
        if (out / PARTIAL).exists():  # of a run that was killed after it wrote the manifest
            remove_partial(out)
        return manifest
    if fresh:
        raw = estimate_raw(found, spec) if spec.encode == "raw" else None
        if raw is not None:
            notice(announcement(raw, spec))
        sizes = [sample.size for samples in found.splits.values() for sample in samples]
        images = _room(sizes, spec) if raw is None else raw.shard_bytes(spec.short_side) + INDEX_BYTES * raw.images
        require_room(out, images + 3 * sum(_list_sizes(found)))  # with the columns as members in blocks, and as lines
    partial = start_output(out, job)
    written = _write_all(out, partial, plan, workers, engine, progress)
    manifest = _manifest(found, spec, plan, written)
    _check_on_disk(out, manifest)
    _remove_others(out, plan)
    write_all(set_indexes(out, manifest))
    finish_output(out, manifest)
    return manifest


def _refuse_pixels(source: Path, spec: ShardSpec) -> None:
    """Raise OutputError if restart markers are requested for raw shards, which have no JPEGs."""
    held = shards_in(source) if spec.encode == "restart" else None
    if held is not None and read_shard_manifest(held).encode == "raw":
        raise OutputError(
            f"{held} holds pixels, and --encode restart adds markers to JPEGs; keep the pixels with --encode raw, "
            f"or make JPEGs of them with --encode resize, which loses quality"
        )


def default_place(source: Path) -> Path:
    """Return where the shards of a source go by default, which is where the loaders look for them."""
    return (source if source.is_dir() else source.parent) / SHARDS


def _list(
    source: Unprepared,
    spec: ShardSpec,
    out: Path,
    job: OutputJob,
    workers: int | None,
    progress: Progress,
    notice: Notice,
) -> SampleSet:
    """Return the samples of a source, and copy those that cannot be read at random unless the shards are finished."""
    copied = streamed_parts(source)
    if not copied or (out / MANIFEST).is_file():
        return list_source(source, {}, progress, notice)
    if not (out / PARTIAL).exists():
        files = sum(part.files for part in source.parts)
        size = sum(part.size for part in source.parts)
        shards = _room([size // files] * files, spec)
        require_room(out, shards + tar_size([part.size for part in copied], metadata=False))
    scratch = copy_streamed(source, start_output(out, job), workers or usable_cpus(), progress)
    return list_source(source, scratch, progress, notice)


def _plan(found: SampleSet, spec: ShardSpec) -> Plan:
    prefix = spec.name or found.dataset
    plan = {
        split: [
            ShardTask(
                name=f"{prefix}-{split}-{number:06d}.tar",
                samples=held,
                classes=found.classes,
                spec=spec,
                columns=found.columns.get(split, ()),
            )
            for number, held in enumerate(plan_shards(with_keys(samples, found.classes), spec))
        ]
        for split, samples in found.splits.items()
    }
    if not any(plan.values()):
        raise DatasetError("there is no labelled image to shard; prepare a train or val split first: feedline prep")
    return plan


def _report_aliases(plan: Plan, notice: Notice) -> None:
    """Report the samples whose key is not the stem of their file's name."""
    changed = [sample for held in plan.values() for task in held for sample in task.samples if sample.alias]
    if changed:
        notice(
            f"{len(changed)} samples have a key that differs from the file's name, which several samples share or some "
            f"reader cannot hold: {changed[0].name} becomes {changed[0].key}"
        )


def _room(images: Sequence[int], spec: ShardSpec) -> int:
    """Return the bytes that the shards and indexes of images of these sizes take, at most."""
    # Restart markers add 1.5 % at most to a set; a JPEG of quality 90 has about a third of a byte per pixel.
    largest = spec.short_side**2 if spec.encode == "resize" and spec.short_side else None
    sizes = [min(size, largest or size) * 1015 // 1000 for size in images]
    return tar_size(sizes, spec.metadata) + INDEX_BYTES * len(sizes)


def _list_sizes(found: SampleSet) -> list[int]:
    """Return the sizes of the files that hold columns."""
    places = {sample.line.place for split in found.columns for sample in found.splits[split] if sample.line}
    return [place.stat().st_size for place in sorted(places)]


def _write_all(
    out: Path, partial: Path, plan: Plan, workers: int | None, engine: Engine, progress: Progress
) -> list[Written]:
    planned = [task for held in plan.values() for task in held]
    count = counter(progress, "shards, images", sum(len(task.samples) for task in planned))
    if engine == "ray":
        return write_on_ray(out, partial, planned, workers, count)
    tasks: list[Callable[[threading.Event], Written]] = [
        bind(write_shard, out, partial, task, count) for task in planned
    ]
    with warnings.catch_warnings():
        # Pillow's about broken EXIF: the pixels are fine. Here, because the filters belong to all threads.
        warnings.simplefilter("ignore", UserWarning)
        return run_all(tasks, workers or usable_cpus())


def _manifest(found: SampleSet, spec: ShardSpec, plan: Plan, written: Sequence[Written]) -> ShardManifest:
    shards = iter(entry.shard for entry in written)
    short_side, quality = _resizing(spec)
    return ShardManifest(
        dataset=found.dataset,
        encode=spec.encode,
        order=spec.order,
        seed=spec.seed,
        classes=found.classes,
        splits={
            split: ShardSplit(
                samples=len(found.splits[split]),
                shards=tuple(next(shards) for _ in held),
                per_class=_per_class(found, split),
                source_bytes=sum(sample.size for sample in found.splits[split]),
                columns=found.columns.get(split, ()),
            )
            for split, held in plan.items()
        },
        short_side=short_side,
        quality=quality,
        metadata=spec.metadata,
        passed_through=dict(sorted(sum((Counter(entry.passed_through) for entry in written), Counter[str]()).items())),
        made_sequential=sum(entry.made_sequential for entry in written),
        orientation_applied=_turned(written) if spec.apply_orientation else None,
    )


def _turned(written: Sequence[Written]) -> dict[str, int]:
    counts = sum((Counter(entry.orientation_applied) for entry in written), Counter[str]())
    return {change: counts[change] for change in ("lossless", "reencoded")}


def _per_class(found: SampleSet, split: str) -> tuple[int, ...]:
    counts = Counter(sample.label for sample in found.splits[split])
    return tuple(counts[label] for label in range(len(found.classes)))


def _check_on_disk(out: Path, manifest: ShardManifest) -> None:
    """Raise OutputError unless every shard has the size that was written."""
    for split in manifest.splits.values():
        for shard in split.shards:
            path = out / shard.name
            if not path.is_file() or path.stat().st_size != shard.bytes:
                raise OutputError(
                    f"{path} is not the shard of {shard.bytes} bytes that was written: something else writes there; "
                    f"stop it and choose another directory with --out"
                )


def _remove_others(out: Path, plan: Plan) -> None:
    """Remove the shards of a run before the sources were repaired, if these now make fewer: a glob would find them."""
    planned = {Path(task.name).stem for tasks in plan.values() for task in tasks}
    prefixes = {stem.rpartition("-")[0] for stem in planned}
    for path in [entry for entry in out.iterdir() if entry.is_file() and entry.stem not in planned]:
        prefix, _, number = path.stem.rpartition("-")
        if prefix in prefixes and number.isdecimal() and len(number) == 6:
            path.unlink()


def _job(found: SampleSet | Unprepared, spec: ShardSpec) -> OutputJob:
    settings: dict[str, str | int | list[str]] = {
        "dataset": found.dataset,
        "sources": [f"{source.name} {source.bytes}" for source in found.sources],
        "splits": list(found.splits),
        "spec": repr(spec),
    }
    if isinstance(found, Unprepared) and found.split_from:
        settings["split_from"] = [f"{name}={split}" for name, split in sorted(found.split_from.items())]
    if isinstance(found, SampleSet) and found.columns:
        settings["columns"] = [*(f"{split}: {names}" for split, names in found.columns.items())]
        settings["columns"] += map(str, _list_sizes(found))
    return OutputJob(command="shard", settings=settings)


def _finished(out: Path, found: SampleSet, spec: ShardSpec, plan: Plan) -> ShardManifest:
    """Return the finished shards' manifest; raise OutputError if they are not what was requested."""
    if is_root(out):
        raise OutputError(f"{out} is a prepared root; give another directory with --out, such as {out / SHARDS}")
    try:
        held = read_shard_manifest(out)
    except DatasetError as error:
        raise OutputError(f"{out} holds something else ({error}); choose another directory with --out") from error
    asked = {split: [(task.name, len(task.samples)) for task in tasks] for split, tasks in plan.items()}
    same = (
        (held.dataset, held.classes) == (found.dataset, found.classes)
        and (held.order, held.seed, held.metadata) == (spec.order, spec.seed, spec.metadata)
        and (held.encode, held.short_side, held.quality) == (spec.encode, *_resizing(spec))
        and (held.orientation_applied is not None) == spec.apply_orientation
        and {split: [(s.name, s.samples) for s in entry.shards] for split, entry in held.splits.items()} == asked
        and all(entry.per_class in ((), _per_class(found, split)) for split, entry in held.splits.items())
        and all(entry.columns == found.columns.get(split, ()) for split, entry in held.splits.items())
        and all(
            entry.source_bytes in (None, sum(sample.size for sample in found.splits[split]))
            for split, entry in held.splits.items()
        )
    )
    if not same:
        raise OutputError(
            f"{out} holds other shards ({held.dataset}, {held.encode}, {held.order}, seed {held.seed}, "
            f"{', '.join(held.splits)}); move it away or choose another directory with --out"
        )
    return held


def _resizing(spec: ShardSpec) -> tuple[int | None, int | None]:
    """Return the short side and the quality that the manifest has."""
    smaller = spec.short_side if spec.encode in ("resize", "raw") else None
    return smaller, spec.quality if spec.encode == "resize" else None
