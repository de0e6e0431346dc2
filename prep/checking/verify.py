"""Checks of a prepared root or a shard set against its manifest.

``verify`` checks counts, sizes, checksums and each image's start and end markers. With ``decode`` it also decodes
every image in full. It collects all problems, so that one run reports everything to repair. ImageNet's 23 odd
files (a PNG and 22 CMYK JPEGs) are not problems. They, and others like them, are listed separately.
"""

import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial as bind
from pathlib import Path

from ..base.documents import read_document
from ..base.manifest import MANIFEST, SHARDS, Manifest, ShardManifest, Split, is_shard_set, read_manifest
from ..base.paths import GivenPath, reachable
from ..base.progress import Progress, counter, silent
from ..images.check import image_problem, odd_notes
from ..images.files import divided, image_files
from ..images.kinds import count_image, split_counts
from ..limits.cpus import usable_cpus
from ..processes.threads import raise_if_stopped, run_all
from ..roots.lists import list_path
from ..roots.samples import class_folder, split_folder
from ..shards.current import stale_shards
from .extremes import extreme_notes
from .lists import OWN, read_lists, unlisted
from .shards import CheckResult, verify_shard, verify_shards

CHUNK = 256  # listed images that one task checks
HIDDEN = (".", "@", "$", "__")  # of folders that systems and programs make: .ipynb_checkpoints, @eaDir, __MACOSX


@dataclass(frozen=True)
class Verification:
    """The result of ``verify``. ``splits`` is {split: {"classes": count, "images": count}} of the files on the disk."""

    problems: tuple[str, ...]
    splits: dict[str, dict[str, int]]
    odd: tuple[str, ...] = ()
    """Notes on images that are not ordinary JPEGs, and whether official ImageNet has them too, and on images that are
    much longer than wide or too large to be opened."""
    strangers: tuple[str, ...] = ()
    """Notes on files that are no part of the data set. Every loader ignores them."""

    stale: bool = False
    """Whether the last problem is that the shards do not match the class folders in their root."""
    formats: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """{split: {kind of image file: count}}; see ``images.kinds``."""
    rotated: dict[str, int] = field(default_factory=dict[str, int])
    """{split: images whose EXIF orientation is not 1}. Training loaders ignore it."""

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(
    path: GivenPath,
    *,
    decode: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
    shards: bool = True,
) -> Verification:
    """Check a prepared root, a shard set or one shard; ``decode`` also decodes every image.

    Shards in a root are compared with its class folders: classes, counts and bytes of the sources. ``shards`` False
    leaves that out for a root.

    A shard is compared with the manifest of the set that it lies in, if there is one. Of a root with nothing but
    shards, the shards are checked. Raises DatasetError if ``path`` is none of these, or is unfinished.
    """
    path, workers = reachable(path), workers or usable_cpus()
    if path.is_file():
        split, found = verify_shard(path, bind(image_problem, decode=decode), progress)
        return _summary([found], [split])
    if not (path / MANIFEST).exists() and is_shard_set(path / SHARDS):
        path = path / SHARDS
    if is_shard_set(path):
        manifest = read_document(path / MANIFEST, ShardManifest)
        found = verify_shards(path, manifest, bind(image_problem, decode=decode), workers, progress)
        place = path.absolute()
        stale = stale_shards(place.parent, manifest) if place.name == SHARDS else None
        return _with_stale(_summary(found, manifest.splits), stale)
    found = _verify_root(path, read_manifest(path), decode, workers, progress)
    return _with_stale(found, stale_shards(path) if shards else None)


def _with_stale(found: Verification, stale: str | None) -> Verification:
    return replace(found, problems=(*found.problems, stale), stale=True) if stale else found


def _verify_root(root: Path, manifest: Manifest, decode: bool, workers: int, progress: Progress) -> Verification:
    count = counter(progress, "verify, images", sum(split.images for split in manifest.splits.values()))
    tasks: list[Callable[[threading.Event], CheckResult]] = []
    lists = read_lists(root, manifest)
    for name, split in manifest.splits.items():
        if split.listed:
            files = [(root / path, label) for path, label in lists.files[name]]
            for first in range(0, len(files), CHUNK):
                tasks.append(bind(_check_files, name, files[first : first + CHUNK], decode, count))
        elif split.per_class:
            for label, entry in enumerate(manifest.classes):
                folder, expected = class_folder(root, name, split, entry), split.per_class[label]
                tasks.append(bind(_check_folder, name, label, folder, expected, decode, count))
        else:
            tasks.append(bind(_check_folder, name, -1, split_folder(root, name, split), split.images, decode, count))
    with warnings.catch_warnings():
        # Pillow warns about broken EXIF, which does not change pixels. Warning filters apply to all threads.
        warnings.simplefilter("ignore", UserWarning)
        found = run_all(tasks, workers)
    unknown = [_unknown_entries(root, name, manifest) for name in manifest.splits]
    if any(split.listed for split in manifest.splits.values()):
        unknown.append(([], unlisted(root, manifest, lists.named)))
    found += [CheckResult("", frozenset(), 0, (), strangers=tuple(notes)) for _, notes in unknown]
    problems = [*lists.problems, *(problem for held, _ in unknown for problem in held)]
    problems += [problem for name, split in manifest.splits.items() for problem in _changed_bytes(name, split, found)]
    return _summary(found, manifest.splits, problems)


def _unknown_entries(root: Path, split: str, manifest: Manifest) -> tuple[list[str], list[str]]:
    """Return problems and notes about the entries of a labelled split's folder that are no class of the manifest.

    A folder with images is a problem, because torchvision would read it as a class. All else is ignored by every
    loader.
    """
    problems: list[str] = []
    notes: list[str] = []
    held = manifest.splits[split]
    folder = split_folder(root, split, held)
    if not held.per_class or held.listed or not folder.is_dir():
        return problems, notes
    known = {(entry.folder or entry.id).partition("/")[0] for entry in manifest.classes}
    if folder == root:  # which also holds what feedline writes, and other splits
        known |= OWN | {list_path(root, name).name for name in manifest.splits}
        known |= {(held.folder or name).partition("/")[0] for name, held in manifest.splits.items()}
    for path in sorted(path for path in folder.iterdir() if path.name not in known):
        if path.is_dir() and not path.name.startswith(HIDDEN) and image_files(path):
            problems.append(
                f"{path} is not a class of the manifest, and its images are no samples; "
                f"move it out of {folder}, or prepare the root again to take it"
            )
        else:
            notes.append(_stranger(path))
    return problems, notes


def _stranger(path: Path) -> str:
    return f"{path} is no image of the data set, and every loader ignores it"


def _changed_bytes(name: str, split: Split, found: Sequence[CheckResult]) -> list[str]:
    """Return a problem if all images are present but their sizes do not add up to the manifest's bytes."""
    held = [part for part in found if part.split == name]
    images, size = sum(part.images for part in held), sum(part.bytes for part in held)
    if images != split.images or size == split.bytes:
        return []
    return [f"the {images} images of {name} have {size} bytes, the manifest says {split.bytes}: some were changed"]


def _check_folder(
    split: str,
    label: int,
    folder: Path,
    expected: int,
    decode: bool,
    count: Callable[[int], None],
    stop: threading.Event,
) -> CheckResult:
    entries, others = divided(folder)
    problems = [] if len(entries) == expected else [f"{folder} has {len(entries)} images, the manifest says {expected}"]
    found = _check_files(split, [(Path(entry.path), label) for entry in entries], decode, count, stop)
    strangers = tuple(_stranger(Path(entry.path)) for entry in others)
    return replace(found, problems=(*problems, *found.problems), strangers=strangers)


def _check_files(
    split: str,
    files: Sequence[tuple[Path, int]],
    decode: bool,
    count: Callable[[int], None],
    stop: threading.Event,
) -> CheckResult:
    """Check some images, each with its class index, -1 without a label."""
    problems: list[str] = []
    odd: list[str] = []
    classes: set[int] = set()
    counts = Counter[str]()
    images = size = 0
    for file, label in files:
        raise_if_stopped(stop)
        try:
            data = file.read_bytes()
        except (OSError, UnicodeEncodeError) as error:  # half a surrogate pair is no name of a file
            problems.append(f"{file} cannot be read: {getattr(error, 'strerror', error)}")
            continue
        images, size = images + 1, size + len(data)
        classes.update([label] if label >= 0 else [])
        problem = image_problem(data, decode)
        if problem:
            problems.append(f"{file} {problem}")
        odd += odd_notes(data, file.name, str(file)) + extreme_notes(data, str(file))
        count_image(counts, data)
        count(1)
    return CheckResult(split, frozenset(classes), images, tuple(problems), size, tuple(odd), counts=counts)


def _summary(found: Sequence[CheckResult], splits: Iterable[str], problems: Sequence[str] = ()) -> Verification:
    parts = {split: [part for part in found if part.split == split] for split in splits}
    counts = {split: split_counts(sum((part.counts for part in held), Counter[str]())) for split, held in parts.items()}
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
        strangers=tuple(line for part in found for line in part.strangers),
        formats={split: kinds for split, (kinds, _) in counts.items()},
        rotated={split: rotated for split, (_, rotated) in counts.items()},
    )
