"""Writing WebDataset shards: what is read, who writes which shard, and what is left when all are done.

Shards are independent of each other: planned in one place, written side by side, and named, cut and filled by the
source, the seed and the settings alone. Same data and seed, same bytes, whatever the workers. A shard appears by one
rename and the manifest is written last, so an interrupted run continues with the shards it lacks.

Workers are threads. Of the 2 ms that restart markers take an image, 1.6 are compiled code without the GIL, so five
threads are of use, 2500 images/s; ImageNet then takes nine minutes, and a disk must write 290 MB/s to keep up.
"""

import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path
from typing import Literal

from ...base.errors import DatasetError, OutputError
from ...base.manifest import SHARDS, ShardManifest, ShardSplit, read_shard_manifest
from ...base.output import OutputJob
from ...base.paths import reachable
from ...base.progress import Notice, Progress, counter, quiet, silent
from ...limits.cpus import usable_cpus
from ...processes.temporary import temporary_folder
from ...processes.threads import run_all
from ...roots.samples import SampleSet
from ...store.afar import FarFolder, seen_from_afar
from ...store.urls import Url, place_of
from ..keys import with_keys
from .destination import Destination, Folder
from .estimate import announcement, estimate_raw
from .far_source import open_far
from .listing import Unprepared, list_source, open_source
from .plan import ShardSpec, plan_shards
from .ray import RayTask, write_on_ray
from .resharding import shards_in
from .scratch import copy_streamed, streamed_parts
from .shard import ShardTask, Written, tar_size
from .upload import Remote

Engine = Literal["local", "ray"]

INDEX_BYTES = 1000  # of all indexes, per image, at most

Plan = Mapping[str, Sequence[ShardTask]]  # the shards of each split


def write_shards(
    source: Path | str | Url,
    spec: ShardSpec | None = None,
    *,
    out: Path | str | Url | None = None,
    split_from: Mapping[str, str] | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    progress: Progress = silent,
    notice: Notice = quiet,
) -> ShardManifest:
    """Write shards, their indexes and the manifest to ``out`` (default ``SOURCE/shards``).

    ``source`` is a prepared root, shards with a manifest, wherever they lie, or any source that ``feedline prep``
    takes; what was recognised is reported to ``notice``. A root or shards may be behind a URL, such as
    ``s3://bucket/data``, and so may ``out``. ``split_from`` is {name of a folder or archive: "train" or
    "val"} for names that do not say their split. An interrupted run continues with the shards it lacks; finished ones
    are returned as they are. ``workers`` shards are written at once, by threads of this process or by the processes of
    a Ray cluster; None: one per CPU. The bytes are the same. The images of gzipped tars and parquet files are copied to
    ``out`` for the time of the run, or to a temporary folder if ``out`` is a URL.

    Raises SourceError for sources that are missing, damaged, foreign, incomplete or contradict each other,
    DatasetError for an unfinished or changed root, OutputError if ``out`` holds
    something else or has no room, StoreError if a URL cannot be read.
    """
    spec, place, given = spec or ShardSpec(), place_of(source), None if out is None else place_of(out)
    with ExitStack() as stack:
        if isinstance(place, Url):
            if split_from:
                raise DatasetError(f"{place} states its splits in its manifest; leave --split-from out")
            far = stack.enter_context(_far_folder(place))
            opened = open_far(far, spec.splits)
            target = _target(far.folder, place, given)
            _refuse_pixels(far.folder, spec)
        else:
            far, target = None, _target(place, place, given)
            _refuse_pixels(place, spec)
            if engine == "ray":  # whose processes have a working directory of their own
                place, target = place.resolve(), target.resolve() if isinstance(target, Path) else target
            skip = reachable(target) if isinstance(target, Path) else None
            opened = open_source(reachable(place), spec.splits, notice, skip=skip, split_from=split_from)
        if isinstance(target, Path):
            destination: Destination = Folder(reachable(target.absolute() if engine == "ray" else target))
        else:
            destination = Remote(target, stack.enter_context(temporary_folder("scratch")), workers)
        run, job = Run(spec, destination, far, workers, engine, progress, notice), _job(opened, spec)
        with destination.claimed(job):
            return _write(opened, job, run)


@dataclass(frozen=True)
class Run:
    """How the shards of a source are written."""

    spec: ShardSpec
    destination: Destination
    far: FarFolder | None
    """The source, if it is behind a URL."""
    workers: int | None
    engine: Engine
    progress: Progress
    notice: Notice


@contextmanager
def _far_folder(url: Url) -> Generator[FarFolder]:
    # The name of a folder of shards is part of the job, and must be the same in the next run.
    with (
        temporary_folder("source") as above,
        seen_from_afar(above / (re.sub(r"[^\w.-]+", "-", url.name).strip(".") or SHARDS), url) as far,
    ):
        yield far


def _target(local: Path, source: Path | Url, out: Path | Url | None) -> Path | Url:
    """Return where the shards go; ``local`` has the documents of the source."""
    if out is not None:
        return out
    if (held := shards_in(local)) is not None:
        raise OutputError(f"{held} holds shards already; say where to write the new ones: --out OTHER/{SHARDS}")
    return default_place(source)


def _write(opened: SampleSet | Unprepared, job: OutputJob, run: Run) -> ShardManifest:
    """Write the shards that the destination lacks, while no other process writes there."""
    spec, destination = run.spec, run.destination
    fresh = not destination.is_begun()
    found = opened if isinstance(opened, SampleSet) else _list(opened, job, run)
    plan = _plan(found, spec)
    _report_aliases(plan, run.notice)
    if (held := destination.manifest()) is not None:
        _require_same(held, destination.name, found, spec, plan)
        destination.clean()
        return held
    if fresh:
        raw = estimate_raw(found, spec) if spec.encode == "raw" else None
        if raw is not None:
            run.notice(announcement(raw, spec))
        sizes = [sample.size for samples in found.splits.values() for sample in samples]
        images = _room(sizes, spec) if raw is None else raw.shard_bytes(spec.short_side) + INDEX_BYTES * raw.images
        total = images + 3 * sum(_list_sizes(found))  # with the columns as members in blocks, and as lines
        shards = [sum(sample.size for sample in task.samples) for held in plan.values() for task in held]
        destination.require_room(total, total * max(shards) // max(1, sum(sizes)))
    destination.start(job)
    manifest = _manifest(found, spec, plan, _write_all(plan, run))
    destination.check(manifest)
    destination.finish(manifest)
    return manifest


def _refuse_pixels(source: Path, spec: ShardSpec) -> None:
    """Raise OutputError if restart markers are requested for raw shards, which have no JPEGs."""
    held = shards_in(source) if spec.encode == "restart" else None
    if held is not None and read_shard_manifest(held).encode == "raw":
        raise OutputError(
            f"{held} holds pixels, and --encode restart adds markers to JPEGs; keep the pixels with --encode raw, "
            f"or make JPEGs of them with --encode resize, which loses quality"
        )


def default_place(source: Path | Url) -> Path | Url:
    """Return where the shards of a source go by default, which is where the loaders look for them."""
    if isinstance(source, Url):
        return source / SHARDS
    return (source if source.is_dir() else source.parent) / SHARDS


def _list(source: Unprepared, job: OutputJob, run: Run) -> SampleSet:
    """Return the samples of a source, and copy those that cannot be read at random unless the shards are finished."""
    copied, destination = streamed_parts(source), run.destination
    if not copied or destination.manifest() is not None:
        return list_source(source, {}, run.progress, run.notice)
    if run.engine == "ray" and isinstance(destination, Remote):
        raise OutputError(
            f"the images of {copied[0].source} are copied first, to a folder that the machines of a cluster must see; "
            f"give such a folder with --out, or use --engine local"
        )
    if not destination.is_begun():
        files = sum(part.files for part in source.parts)
        size = sum(part.size for part in source.parts)
        shards = _room([size // files] * files, run.spec)
        copies = tar_size([part.size for part in copied], metadata=False)
        destination.require_room(shards + copies, shards + copies)
    folder = destination.start(job)
    scratch = copy_streamed(source, folder, run.workers or usable_cpus(), run.progress)
    return list_source(source, scratch, run.progress, run.notice)


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


def _write_all(plan: Plan, run: Run) -> list[Written]:
    planned, writer = [task for held in plan.values() for task in held], run.destination.writer()
    count = counter(run.progress, "shards, images", sum(len(task.samples) for task in planned))
    if run.engine == "ray":
        return write_on_ray(RayTask(writer, run.far), planned, run.workers, count)
    tasks: list[Callable[[threading.Event], Written]] = [bind(writer, task, count) for task in planned]
    with warnings.catch_warnings():
        # Pillow's about broken EXIF: the pixels are fine. Here, because the filters belong to all threads.
        warnings.simplefilter("ignore", UserWarning)
        return run_all(tasks, run.workers or usable_cpus())


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


def _require_same(held: ShardManifest, name: object, found: SampleSet, spec: ShardSpec, plan: Plan) -> None:
    """Raise OutputError if finished shards are not what was requested."""
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
            f"{name} holds other shards ({held.dataset}, {held.encode}, {held.order}, seed {held.seed}, "
            f"{', '.join(held.splits)}); move it away or choose another directory with --out"
        )


def _resizing(spec: ShardSpec) -> tuple[int | None, int | None]:
    """Return the short side and the quality that the manifest has."""
    smaller = spec.short_side if spec.encode in ("resize", "raw") else None
    return smaller, spec.quality if spec.encode == "resize" else None
