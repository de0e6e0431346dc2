"""Checking what lies on the disk against its manifest: a prepared root, or a shard set.

Counts, sizes, checksums and each picture's start and end markers are checked; with ``decode`` every picture is
decoded in full as well. All problems are collected, so that one run tells everything there is to mend. ImageNet's
23 odd files (a PNG and 22 CMYK JPEGs) are no problems; they, and others like them, are listed apart.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from .cpus import usable_cpus
from .documents import read_document
from .errors import SourceError
from .manifest import MANIFEST, Manifest, Shard, ShardManifest, Split, read_manifest
from .pictures import KNOWN_ODD, odd_kind, picture_problem
from .pool import check, run_all
from .progress import Progress, counter, silent
from .tar import read_member, walk


@dataclass(frozen=True)
class Verification:
    """What was found. ``splits`` maps a split to the classes and pictures that are really there."""

    problems: tuple[str, ...]
    splits: dict[str, dict[str, int]]
    odd: tuple[str, ...] = ()
    """Pictures that are no ordinary JPEGs, and whether official ImageNet has them too."""

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(
    path: Path, *, decode: bool = False, workers: int | None = None, progress: Progress = silent
) -> Verification:
    """Check a prepared root or a shard set; ``decode`` also decodes every picture.

    Raises DatasetError when ``path`` is neither, or unfinished.
    """
    workers = workers or usable_cpus()
    if (path / MANIFEST).is_file() and '"feedline-shards"' in (path / MANIFEST).read_text("utf-8")[:200]:
        return _verify_shards(path, read_document(path / MANIFEST, ShardManifest), decode, workers, progress)
    return _verify_root(path, read_manifest(path), decode, workers, progress)


@dataclass(frozen=True)
class _Found:
    split: str
    classes: frozenset[int]
    images: int
    bytes: int
    problems: tuple[str, ...]
    odd: tuple[str, ...]


def _verify_root(root: Path, manifest: Manifest, decode: bool, workers: int, progress: Progress) -> Verification:
    count = counter(progress, "verify, pictures", sum(split.images for split in manifest.splits.values()))
    tasks: list[Callable[[threading.Event], _Found]] = []
    for name, split in manifest.splits.items():
        if split.per_class:
            for label, entry in enumerate(manifest.classes):
                folder, expected = root / name / entry.wnid, split.per_class[label]
                tasks.append(bind(_check_folder, name, label, folder, expected, decode, count))
        else:
            tasks.append(bind(_check_folder, name, -1, root / name, split.images, decode, count))
    found = run_all(tasks, workers)
    problems = [problem for name in manifest.splits for problem in _strangers(root, name, manifest)]
    problems += [problem for name, split in manifest.splits.items() for problem in _other_bytes(name, split, found)]
    return _summary(found, manifest.splits, problems)


def _strangers(root: Path, split: str, manifest: Manifest) -> list[str]:
    """Return a problem for each thing in a labelled split's folder that is no class of the manifest."""
    if not manifest.splits[split].per_class or not (root / split).is_dir():
        return []
    known = {entry.wnid for entry in manifest.classes}
    strangers = sorted(path for path in (root / split).iterdir() if path.name not in known)
    return [f"{path} is no class of the manifest: a loader would take it for one; remove it" for path in strangers]


def _other_bytes(name: str, split: Split, found: Sequence[_Found]) -> list[str]:
    """Return a problem when all pictures are there but do not add up to the manifest's bytes."""
    held = [part for part in found if part.split == name]
    images, size = sum(part.images for part in held), sum(part.bytes for part in held)
    if images != split.images or size == split.bytes:
        return []
    return [f"the {images} pictures of {name} have {size} bytes, the manifest says {split.bytes}: some were changed"]


def _check_folder(
    split: str,
    label: int,
    folder: Path,
    expected: int,
    decode: bool,
    count: Callable[[int], None],
    stop: threading.Event,
) -> _Found:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    problems = [] if len(files) == expected else [f"{folder} has {len(files)} pictures, the manifest says {expected}"]
    odd: list[str] = []
    size = 0
    for file in files:
        check(stop)
        try:
            data = file.read_bytes()
        except OSError as error:
            problems.append(f"{file} cannot be read: {error.strerror}")
            continue
        size += len(data)
        problem = picture_problem(data, decode)
        if problem:
            problems.append(f"{file} {problem}")
        odd += _odd(data, file.name, str(file))
        count(1)
    return _Found(
        split, frozenset([label] if files and label >= 0 else []), len(files), size, tuple(problems), tuple(odd)
    )


def _odd(data: bytes, name: str, where: str) -> list[str]:
    """Return what sets a picture apart, where something does, and whether ImageNet is known for it."""
    kind = odd_kind(data)
    what = {"png": "a PNG", "cmyk": "a CMYK JPEG", None: "an ordinary JPEG, though the official one is not"}[kind]
    if name in KNOWN_ODD:
        return [f"{where} is {what}" + (", as in official ImageNet" if kind else ": it was written anew")]
    return [f"{where} is {what}; official ImageNet has no such file of this name"] if kind else []


def _verify_shards(
    directory: Path, manifest: ShardManifest, decode: bool, workers: int, progress: Progress
) -> Verification:
    count = counter(progress, "verify, samples", sum(split.samples for split in manifest.splits.values()))
    tasks = [
        bind(_check_shard, split, directory, shard, len(manifest.classes), decode, count)
        for split, held in manifest.splits.items()
        for shard in held.shards
    ]
    return _summary(run_all(tasks, workers), manifest.splits)


def _check_shard(
    split: str,
    directory: Path,
    shard: Shard,
    classes: int,
    decode: bool,
    count: Callable[[int], None],
    stop: threading.Event,
) -> _Found:
    path = directory / shard.name
    labels: set[int] = set()
    images = 0
    problems: list[str] = []
    odd: list[str] = []
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
                problems.append(f"{path} has another sha256 than the manifest")
            for member in walk(file, 0, path.stat().st_size, str(path)):
                check(stop)
                data = read_member(file, member, str(path))
                where = f"{member.name} at offset {member.offset} of {path}"
                if member.name.endswith(".cls"):
                    label = int(data) if data.isdigit() else -1
                    labels.add(label)
                    if not 0 <= label < classes:
                        problems.append(f"{where} is {data[:20]!r}, no class of 0..{classes - 1}")
                else:
                    images += 1
                    count(1)
                    problem = picture_problem(data, decode)
                    if problem:
                        problems.append(f"{where} {problem}")
                    odd += _odd(data, f"{Path(member.name).stem}.JPEG", where)
    except FileNotFoundError:
        problems.append(f"{path} is missing")
    except SourceError as error:
        problems.append(str(error))
    if images != shard.samples and not problems:
        problems.append(f"{path} has {images} samples, the manifest says {shard.samples}")
    return _Found(split, frozenset(labels), images, 0, tuple(problems), tuple(odd))


def _summary(found: Sequence[_Found], splits: Iterable[str], problems: Sequence[str] = ()) -> Verification:
    parts = {split: [part for part in found if part.split == split] for split in splits}
    return Verification(
        problems=(*(problem for part in found for problem in part.problems), *problems),
        splits={
            split: {
                "classes": len(frozenset[int]().union(*(part.classes for part in held))),
                "images": sum(part.images for part in held),
            }
            for split, held in parts.items()
        },
        odd=tuple(line for part in found for line in part.odd),
    )
