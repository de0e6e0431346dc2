"""Checking what lies on the disk against its manifest: a prepared root, or a shard set.

Counts, sizes, checksums and each picture's first and last bytes are checked; with ``decode`` every picture is
decoded in full as well. All problems are collected, so that one run tells everything there is to mend.
"""

import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial as bind
from io import BytesIO
from pathlib import Path

from PIL import Image

from .cpus import usable_cpus
from .documents import read_document
from .manifest import MANIFEST, Manifest, ShardManifest, read_manifest
from .pool import check, run_all
from .progress import Progress, counter, silent
from .verify_shards import Found, verify_shards

JPEG_START, JPEG_END, PNG_START = b"\xff\xd8\xff", b"\xff\xd9", b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Verification:
    """What was found. ``splits`` maps a split to the classes and pictures that are really there."""

    problems: tuple[str, ...]
    splits: dict[str, dict[str, int]]

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
        shards = read_document(path / MANIFEST, ShardManifest)
        found = verify_shards(path, shards, bind(picture_problem, decode=decode), workers, progress)
        return _summary(found, shards.splits)
    return _verify_root(path, read_manifest(path), decode, workers, progress)


def _verify_root(root: Path, manifest: Manifest, decode: bool, workers: int, progress: Progress) -> Verification:
    count = counter(progress, "verify, pictures", sum(split.images for split in manifest.splits.values()))
    tasks: list[Callable[[threading.Event], Found]] = []
    for name, split in manifest.splits.items():
        if split.per_class:
            for label, entry in enumerate(manifest.classes):
                folder, expected = root / name / entry.wnid, split.per_class[label]
                tasks.append(bind(_check_folder, name, label, folder, expected, decode, count))
        else:
            tasks.append(bind(_check_folder, name, -1, root / name, split.images, decode, count))
    return _summary(run_all(tasks, workers), manifest.splits)


def _check_folder(
    split: str,
    label: int,
    folder: Path,
    expected: int,
    decode: bool,
    count: Callable[[int], None],
    stop: threading.Event,
) -> Found:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    problems = [] if len(files) == expected else [f"{folder} has {len(files)} pictures, the manifest says {expected}"]
    for file in files:
        check(stop)
        problem = picture_problem(file.read_bytes(), decode)
        if problem:
            problems.append(f"{file} {problem}")
        count(1)
    return Found(split, frozenset([label] if files and label >= 0 else []), len(files), tuple(problems))


def picture_problem(data: bytes, decode: bool) -> str | None:
    """Return what is wrong with a picture file, or None. A PNG named .JPEG is a picture, as in ImageNet."""
    if not data.startswith((JPEG_START, PNG_START)):
        return f"is neither a JPEG nor a PNG: it begins with {data[:8].hex()}"
    if data.startswith(JPEG_START) and JPEG_END not in data[-65536:]:
        return f"is a JPEG cut short: its {len(data)} bytes have no end marker"
    if decode:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # broken EXIF, as in ImageNet: the pixels are fine
                Image.open(BytesIO(data)).load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return f"does not decode: {error}"
    return None


def _summary(found: Sequence[Found], splits: Iterable[str]) -> Verification:
    parts = {split: [part for part in found if part.split == split] for split in splits}
    return Verification(
        problems=tuple(problem for part in found for problem in part.problems),
        splits={
            split: {
                "classes": len(frozenset[int]().union(*(part.classes for part in held))),
                "images": sum(part.images for part in held),
            }
            for split, held in parts.items()
        },
    )
