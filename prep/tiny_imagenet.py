"""From tiny-imagenet-200.zip to the class folders that every ImageFolder expects.

The archive's own layout misleads: train has an ``images/`` level, and val is one flat folder whose labels stand in
``val_annotations.txt``, so an ImageFolder on it trains on a single class called "images". Here labels come
from that file by file name. Bounding boxes and annotations are kept as they are, under ``annotations/``.
"""

import re
from collections.abc import Iterator
from functools import partial as bind
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from .cpus import usable_cpus
from .errors import OutputError, SourceError
from .folders import Picture, Unit, split_of, write_units
from .manifest import MANIFEST, ClassEntry, Manifest, Source, read_manifest
from .output import PARTIAL, Job, claim, finish, require_room
from .progress import Progress, counter, silent

DATASET = "tiny-imagenet"

TOP = "tiny-imagenet-200/"
TRAIN_PICTURE = re.compile(r"train/(n[0-9]{8})/images/(\1_[0-9]{1,8}\.JPEG)")
VAL_PICTURE = re.compile(r"val/images/(val_[0-9]{1,8}\.JPEG)")
TEST_PICTURE = re.compile(r"test/images/(test_[0-9]{1,8}\.JPEG)")
NOTE = re.compile(r"(?:train/n[0-9]{8}/(n[0-9]{8}_boxes\.txt)|val/(val_annotations\.txt)|(wnids\.txt|words\.txt))")
WNID = re.compile(r"n[0-9]{8}")

MAX_FILE = 16 * 1024 * 1024  # bytes; a picture has about 2 kB, words.txt 2.6 MB
MEAN_PICTURE = 2_000  # bytes
CLUSTER = 4096  # bytes; a small file takes a whole one


def prepare_tiny_imagenet(
    source: Path, out: Path, *, workers: int | None = None, progress: Progress = silent
) -> Manifest:
    """Write class folders and the manifest to ``out`` from the zip. An interrupted run continues.

    Raises SourceError for a missing, damaged or foreign archive, OutputError when ``out`` holds something else
    or has no room.
    """
    try:
        with ZipFile(source) as archive:
            return _prepare(archive, source, out, workers or usable_cpus(), progress)
    except FileNotFoundError as error:
        raise SourceError(f"{source} does not exist; give the path of tiny-imagenet-200.zip") from error
    except (BadZipFile, EOFError) as error:
        raise SourceError(f"{source} is damaged or not a zip ({error}): copy or download it again") from error


def _prepare(archive: ZipFile, source: Path, out: Path, workers: int, progress: Progress) -> Manifest:
    recorded = Source(name=source.name, bytes=source.stat().st_size)
    if (out / MANIFEST).is_file():
        manifest = read_manifest(out)
        if manifest.dataset != DATASET or manifest.sources != (recorded,):
            raise OutputError(f"{out} holds another data set ({manifest.dataset}); choose another directory with --out")
        return manifest
    members = _members(archive, source)
    wnids = sorted(set(_text(archive, members, "wnids.txt", source).split()))
    units = _units(archive, source, members, wnids)
    total = sum(info.file_size for info in members.values())
    if not (out / PARTIAL).exists():
        require_room(out, total + total // MEAN_PICTURE * CLUSTER // 2)
    job = Job(command="prep tiny-imagenet", settings={"sources": [f"{recorded.name} {recorded.bytes}"]})
    partial = claim(out, job)
    counts = write_units(out, partial, units, workers, counter(progress, "class folders, MB", total, 10**6))
    names = _class_names(_text(archive, members, "words.txt", source))
    manifest = Manifest(
        dataset=DATASET,
        classes=tuple(ClassEntry(wnid=wnid, name=names.get(wnid, wnid)) for wnid in wnids),
        splits={split: split_of(counts, split, wnids if split != "test" else []) for split in ("train", "val", "test")},
        sources=(recorded,),
    )
    finish(out, manifest)
    return manifest


def _members(archive: ZipFile, source: Path) -> dict[str, ZipInfo]:
    """Return the files by their path below the top folder; raise SourceError for anything foreign."""
    found: dict[str, ZipInfo] = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        name = info.filename.removeprefix(TOP)
        known = any(pattern.fullmatch(name) for pattern in (TRAIN_PICTURE, VAL_PICTURE, TEST_PICTURE, NOTE))
        if name == info.filename or not known:
            raise SourceError(f"{source} is not tiny-imagenet-200.zip: it holds {info.filename!r}")
        if name in found:
            raise SourceError(f"{source} holds {info.filename!r} twice")
        if not 0 < info.file_size <= MAX_FILE:
            raise SourceError(f"{source}: {info.filename!r} claims {info.file_size} bytes, at most {MAX_FILE} are sane")
        found[name] = info
    for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
        if name not in found:
            raise SourceError(f"{source} is not tiny-imagenet-200.zip: it has no {TOP}{name}")
    return found


def _units(archive: ZipFile, source: Path, members: dict[str, ZipInfo], wnids: list[str]) -> list[Unit]:
    """Return a unit per class of train, and one each for val, test and the annotations."""
    files: dict[str, list[tuple[str, ZipInfo]]] = {f"train/{wnid}": [] for wnid in wnids}
    labels = _val_labels(_text(archive, members, "val/val_annotations.txt", source))
    for name, info in members.items():
        folder, path = _place(name, labels)
        if (folder.startswith("train/") and folder not in files) or (folder == "val" and not path):
            raise SourceError(f"{source}: {name} belongs to no class of {TOP}wnids.txt or val_annotations.txt")
        files.setdefault(folder, []).append((path, info))
    return [Unit(folder, bind(_pictures, archive, source, found)) for folder, found in files.items()]


def _place(name: str, labels: dict[str, str]) -> tuple[str, str]:
    """Return (unit folder, path below it) of an archive member; a val picture without a label has no path."""
    if match := TRAIN_PICTURE.fullmatch(name):
        return f"train/{match[1]}", match[2]
    if match := VAL_PICTURE.fullmatch(name):
        wnid = labels.get(match[1])
        return "val", f"{wnid}/{match[1]}" if wnid else ""
    if match := TEST_PICTURE.fullmatch(name):
        return "test", match[1]
    return "annotations", name.rpartition("/")[2]


def _pictures(archive: ZipFile, source: Path, files: list[tuple[str, ZipInfo]]) -> Iterator[Picture]:
    for path, info in files:
        yield Picture(path, info.file_size, bind(_read, archive, source, info))


def _read(archive: ZipFile, source: Path, info: ZipInfo) -> bytes:
    # Read no further than the size that was bounded: a zip bomb expands to more than it claims.
    with archive.open(info) as file:
        data = file.read(info.file_size)
    if len(data) != info.file_size:
        raise SourceError(f"{source}: {info.filename!r} is cut short: copy or download it again")
    return data


def _text(archive: ZipFile, members: dict[str, ZipInfo], name: str, source: Path) -> str:
    try:
        return _read(archive, source, members[name]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{source}: {TOP}{name} is not text") from error


def _val_labels(text: str) -> dict[str, str]:
    """Return {file name: wnid} from lines of file, wnid and box, separated by tabs."""
    rows = (line.split("\t") for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) >= 2 and WNID.fullmatch(row[1])}


def _class_names(text: str) -> dict[str, str]:
    """Return {wnid: name} from lines of wnid and name, separated by a tab."""
    rows = (line.split("\t", 1) for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 2}
