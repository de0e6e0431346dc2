"""Checks of a shard set: each tar against the manifest, each index against its tar, and each image.

An index is correct if it equals, byte for byte, what `feedline shard --index-only` would write now. Then every
offset, label and tile in it is correct too. For one image of each shard, the check also cuts out tiles and
compares their pixels with those of the whole image.
"""

import threading
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial as bind
from pathlib import Path

import numpy as np

from ..base.errors import DatasetError, FeedlineError, SourceError, StoreError
from ..base.manifest import MANIFEST, Shard, ShardManifest, is_shard_set, read_shard_manifest
from ..base.names import MAX_DEPTH
from ..base.origins import origin_of
from ..base.progress import Progress, counter
from ..base.shell import shell_word
from ..images.check import odd_notes
from ..images.geometry import read_geometry
from ..images.jpeg import UnsupportedJpeg
from ..images.kinds import count_image
from ..images.opening import UNREADABLE, load, open_image
from ..processes.threads import raise_if_stopped, run_all
from ..roots.places import shard_path
from ..shards.read import OWN, ShardSample, read_shard, read_whole
from ..shards.reindex import add_sample
from ..shards.rules import MAX_CLASSES, LabelOf, SampleRule, class_number, labels_of, rule_of
from ..shards.sidecars import OURS, Sidecars, is_foreign, set_indexes, stale
from .extremes import extreme_notes

ImageCheck = Callable[[bytes], str | None]


@dataclass(frozen=True)
class CheckResult:
    """What one class folder or shard holds, and the problems in it."""

    split: str
    classes: frozenset[int]
    images: int
    problems: tuple[str, ...]
    bytes: int = 0
    odd: tuple[str, ...] = ()
    """Notes on images that are not ordinary JPEGs."""
    strangers: tuple[str, ...] = ()
    """Notes on files that are no part of the data set, and that feedline leaves alone."""
    counts: Counter[str] = field(default_factory=Counter[str])
    """What ``count_image`` counts."""
    is_damaged: bool = False
    """Whether the bytes of a shard are not those of the manifest, or cannot be read as a shard."""


def verify_shards(
    directory: Path, manifest: ShardManifest, image_problem: ImageCheck, workers: int, progress: Progress
) -> list[CheckResult]:
    """Check every shard and every index. ``image_problem`` returns the problem in an image's bytes, or None."""
    count = counter(progress, "verify, samples", sum(split.samples for split in manifest.splits.values()))
    tasks: list[Callable[[threading.Event], CheckResult]] = [
        bind(_check, split, _to_check(directory, manifest, split, shard), image_problem, count)
        for split, held in manifest.splits.items()
        for shard in held.shards
    ]
    with warnings.catch_warnings():
        # Pillow warns about broken EXIF, which does not change pixels. Warning filters apply to all threads.
        warnings.simplefilter("ignore", UserWarning)
        found = run_all(tasks, workers)
    problems, strangers = _index_findings(set_indexes(directory, manifest))
    return [*found, CheckResult("", frozenset(), 0, problems, strangers=strangers)]


def verify_shard(path: Path, image_problem: ImageCheck, progress: Progress) -> tuple[str, CheckResult]:
    """Check one shard and its indexes; return its split, "shard" without a manifest, and the result.

    Raises DatasetError for a file that is no shard.
    """
    if path.suffix.lower() != ".tar":
        raise DatasetError(
            f"{path} is no shard (*.tar); give a prepared root, a folder of shards or one shard: feedline verify PATH"
        )
    try:
        next(read_shard(path), None)
    except DatasetError as error:
        raise DatasetError(
            f"{path} is no shard of feedline ({str(error).partition(';')[0]}); an archive is checked when it is "
            f"prepared: feedline prep imagefolder {shell_word(path)} --out ROOT, or "
            f"feedline prep imagenet {shell_word(path)} --out ROOT"
        ) from error
    except SourceError:
        pass  # a damaged tar is a result of the check
    split, shard = _listed(path)
    count = counter(progress, "verify, samples", shard.entry.samples if shard.entry else 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return split, _check(split, shard, image_problem, count, threading.Event())


@dataclass(frozen=True, kw_only=True)
class _ToCheck:
    """A shard, and what its manifest says about it."""

    path: Path
    home: Path
    """Its path in the directory of the set, next to which its indexes lie."""
    entry: Shard | None = None
    classes: int = MAX_CLASSES
    labelled: bool = True
    columns: tuple[str, ...] = ()
    rule: SampleRule = OWN
    label_of: LabelOf = class_number


def _to_check(directory: Path, manifest: ShardManifest, split: str, shard: Shard) -> _ToCheck:
    return _ToCheck(
        path=shard_path(directory, manifest, shard),
        home=directory / shard.name,
        entry=shard,
        classes=len(manifest.classes),
        labelled=manifest.splits[split].labelled,
        columns=manifest.splits[split].columns,
        rule=rule_of(manifest),
        label_of=labels_of(manifest),
    )


def _listed(path: Path) -> tuple[str, _ToCheck]:
    """Return the split of a shard, and what the manifest next to it, or above its folder, says about it."""
    path = path.absolute()
    for directory in path.parents[:MAX_DEPTH]:
        if not is_shard_set(directory):
            continue
        manifest = read_shard_manifest(directory)
        if manifest.place is not None:  # of shards that lie elsewhere
            continue
        name = path.relative_to(directory).as_posix()
        for split, held in manifest.splits.items():
            for shard in held.shards:
                if shard.name == name:
                    return split, _to_check(directory, manifest, split, shard)
        raise DatasetError(
            f"{directory / MANIFEST} does not list {name}; move that file away and take all shards as they are: "
            f"feedline shard --index-only {shell_word(directory)}"
        )
    return "shard", _ToCheck(path=path, home=path)


def _check(
    split: str,
    shard: _ToCheck,
    image_problem: ImageCheck,
    count: Callable[[int], None],
    stop: threading.Event,
) -> CheckResult:
    """Check a shard; if it is a damaged copy of one behind a URL that was here before, check that one."""
    was_here = shard.path.is_file()
    found = _check_shard(split, shard, image_problem, count, stop)
    origin = origin_of(shard.path) if was_here and found.is_damaged else None
    if origin is None:
        return found
    if not origin.renew(shard.path):
        problem = f"the copy of {shard.path} on this machine is damaged, and a process uses it; run again when it ends"
        return replace(found, problems=(problem,))
    return _check_shard(split, shard, image_problem, lambda _: None, stop)


def _check_shard(
    split: str,
    shard: _ToCheck,
    image_problem: ImageCheck,
    count: Callable[[int], None],
    stop: threading.Event,
) -> CheckResult:
    columns = bool(shard.columns)
    sidecars, labels, problems, odd = Sidecars(columns=columns), list[int](), list[str](), list[str]()
    strangers: tuple[str, ...] = ()
    counts, is_damaged = Counter[str](), False

    def check(sample: ShardSample) -> None:
        raise_if_stopped(stop)
        add_sample(sidecars, sample, shard.columns)
        labels.append(sample.label)
        name = f"{sample.image_file.name} at offset {sample.offset} of {shard.path}"
        if sample.label >= shard.classes:
            problems.append(f"{name} has class index {sample.label}, but the manifest has {shard.classes} classes")
        if (sample.label >= 0) != shard.labelled:
            problems.append(f"{name} has {'no' if shard.labelled else 'a'} class, unlike the {split} of the manifest")
        found = image_problem(sample.image) or (splice_problem(sample) if len(labels) == 1 else None)
        problems.extend([f"{name} {found}"] if found else [])
        odd.extend(odd_notes(sample.image, f"{sample.key}.JPEG", name) + extreme_notes(sample.image, name))
        count_image(counts, sample.image)
        count(1)

    try:
        read = read_whole(shard.path, check, shard.rule, shard.label_of, columns=columns)
        # If the shard is damaged, its index cannot be judged.
        found = _shard_problems(shard, read.sha256, len(labels))
        is_damaged = bool(found)
        if not found:
            found, strangers = _index_findings(sidecars.contents(shard.home))
        problems += found
    except FeedlineError as error:
        problems.append(str(error))
        is_damaged = not isinstance(error, StoreError)
    return CheckResult(
        split,
        frozenset(label for label in labels if label >= 0),
        len(labels),
        tuple(problems),
        odd=tuple(odd),
        strangers=strangers,
        counts=counts,
        is_damaged=is_damaged,
    )


def _shard_problems(shard: _ToCheck, sha256: str, samples: int) -> Sequence[str]:
    if shard.entry is None:
        return []
    problems = [] if sha256 == shard.entry.sha256 else [f"{shard.path} has another sha256 than the manifest"]
    if samples != shard.entry.samples:
        problems.append(f"{shard.path} has {samples} samples, the manifest says {shard.entry.samples}")
    return problems


def _index_findings(contents: dict[Path, bytes]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the problems of indexes, and notes on files of other tools in the places of those of other readers."""
    wrong = stale(contents)
    strangers = {path for path in wrong if path.suffix not in OURS and is_foreign(path)}
    return (
        tuple(_index_problem(path) for path in wrong if path not in strangers),
        tuple(f"{path} was not written by feedline, which leaves it as it is" for path in wrong if path in strangers),
    )


def _index_problem(path: Path) -> str:
    state = "does not belong to its shards" if path.is_file() else "is missing"
    if origin_of(path) is not None:
        return (
            f"{path} {state}; make it again where the shards were written, with: feedline shard --index-only FOLDER, "
            "and upload it"
        )
    return f"{path} {state}; make it again with: feedline shard --index-only {shell_word(path.parent)}"


def splice_problem(sample: ShardSample) -> str | None:
    """Return why the middle of an image with tiles cannot be cut out exactly, or None."""
    from ..images.splice import splice  # imports numba, which nothing else here needs

    try:
        geometry = read_geometry(sample.image)
        width, height = max(1, geometry.width // 2), max(1, geometry.height // 2)
        left, top = geometry.width // 4, geometry.height // 4
        cut, (x, y) = splice(sample.image, geometry, (left, top, width, height))
        part, whole = (np.asarray(load(open_image(data))) for data in (cut, sample.image))
    except UnsupportedJpeg:  # the image has no tiles
        return None
    except (FeedlineError, *UNREADABLE) as error:
        return f"cannot be cut into tiles: {error}"
    if not np.array_equal(part[y : y + height, x : x + width], whole[top : top + height, left : left + width]):
        return "has tiles that decode to other pixels than the whole image"
    return None
