"""Recognising one file: an archive, a parquet file or a label list, by its first bytes and first names."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..archives.compressed import compression_by, compression_of, open_tar
from ..archives.tar import Member
from ..archives.zip import read_zip_member
from ..base.errors import SourceError
from ..base.shell import shell_word
from .class_tars import class_tars, train_archive
from .label_lists import (
    DEVKIT,
    MAX_TEXT,
    TEXTS,
    LabelList,
    devkit_archive,
    labels_in_file,
    labels_in_text,
)
from .naming import (
    CLASS_TAR,
    SPELLINGS,
    SUFFIXES,
    Place,
    kind_of,
    place,
)
from .parquet import PARQUET, parquet_part
from .parts import SIGNATURE
from .reading import Reading, command_line
from .recognised import Recognised, TinyImagenetError
from .strange import (
    ForeignError,
    refuse_shards,
    refuse_strange,
    refuse_text,
)
from .streams import tar_part
from .trees import Entry, Zip, tree_parts

ARCHIVES = (
    *(".tar", ".tgz", ".gz", ".zip", ".parquet", ".xz", ".txz", ".bz2", ".tbz", ".tbz2", ".zst", ".tzst"),
    *(".7z", ".rar"),
)
OTHERS = {".tfrecord": "a TFRecord file", ".npz": "a NumPy archive of small images", ".beton": "an FFCV file"}
ZIP = b"PK"
TINY = "wnids.txt"
KAGGLE_LABELS = "LOC_val_solution.csv"


def recognise_file(path: Path, reading: Reading) -> Recognised:
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise SourceError(f"{path} is empty: copy or download it again")
    if other := made_by_other_tool(path.name):
        raise SourceError(f"{path} is {other}, made from the archives for another tool; give the archives themselves")
    refuse_strange(path, start)
    if path.suffix.lower() not in TEXTS and not start.startswith((ZIP, PARQUET)):
        refuse_text(path, start)
    if compression_of(path):
        with open_tar(path) as (stream, _):
            inside = stream.read(512)
        refuse_strange(path, inside)
        if again := compression_by(inside):
            once = path.parent / f"unpacked-{path.stem}"
            raise SourceError(
                f"{path} is compressed twice; unpack it once and give the result: {again} -dc {path} > {once}"
            )
        if inside and b"\0" not in inside:
            raise ForeignError(f"{path} holds a compressed text, and no tar; unpack it, or leave it out")
    if start.startswith(PARQUET):
        return Recognised((parquet_part(path),), ())
    if start.startswith(ZIP):
        return _zip(path, reading)
    if path.suffix in TEXTS:
        labels = labels_in_file(path)
        if labels is None:
            raise SourceError(f"{path} names no validation image with its class, so there is nothing to compare")
        return Recognised((), (labels,))
    if match := CLASS_TAR.fullmatch(path.name):
        parent = path.absolute().parent.name.lower()
        split = SPELLINGS[parent] if parent in ("train", "val", "valid", "validation") else "train"
        if _holds_images_of(path, match[1]):
            return Recognised(tuple(class_tars(path.parent, [path], split, reading)), ())
    return _tar(path, reading)


def _zip(path: Path, reading: Reading) -> Recognised:
    tree = Zip(path)
    label_lists: list[LabelList] = []
    first = ""

    def entries() -> Iterator[Entry]:  # one pass: listing 1.5 million members takes 20 seconds
        nonlocal first
        for name, position, size in tree.entries():
            base = name.rpartition("/")[2]
            if "__MACOSX/" not in name and not base.startswith("."):
                first = first or base
            if base == TINY or name.startswith("tiny-imagenet"):
                raise TinyImagenetError(path)
            if base == KAGGLE_LABELS and 0 < size <= MAX_TEXT:
                label_lists.extend(_zipped_labels(path, name, position))
                continue
            yield name, position, size

    parts = tuple(tree_parts(tree, reading, entries=entries()))
    if not parts:
        raise ForeignError(nothing_in(path, first, reading))
    return Recognised(parts, tuple(label_lists))


def _zipped_labels(path: Path, name: str, position: int) -> list[LabelList]:
    with path.open("rb") as file:
        found = labels_in_text(read_zip_member(file, position, str(path)), f"{name} in {path}")
    return [found] if found else []


def nothing_in(path: Path, first: str, reading: Reading) -> str:
    """Return the sentence for an archive without images of ImageNet; ``first`` is its first file."""
    if in_test := sorted(kind for kind in reading.left_out.get(path, ()) if kind.endswith("of test")):
        return (
            f"{path} holds {in_test[0]} only, and test has no labels in ImageNet; take them as val: "
            f"{command_line(reading.command, path, '--split-from test=val')}"
        )
    if not first:
        return f"{path} holds no file; copy or download it again"
    unpack = "tar xf" if path.suffix != ".zip" else "unzip"
    if first.endswith("/"):
        return f"{path} holds folders only; copy or download it again"
    hint = f"; for images of your own, run: feedline prep imagefolder {shell_word(path)} --out ROOT"
    if first.lower().endswith(ARCHIVES):
        hint = f"; unpack it and give the folder: {unpack} {path}"
    return f"{path} holds no image of ImageNet: its first file is {first[:200]!r}{hint}"


def _tar(path: Path, reading: Reading) -> Recognised:
    first, name, owner = _first_image(path, reading)
    base = name.rpartition("/")[2]
    if first is not None:
        return Recognised((tar_part(path, first, name, owner == SIGNATURE, reading),), ())
    if CLASS_TAR.fullmatch(base):
        return Recognised((train_archive(path, name, owner == SIGNATURE, reading),), ())
    if DEVKIT.fullmatch(name.removeprefix("./")):
        return Recognised((), (devkit_archive(path),))
    raise ForeignError(nothing_in(path, name, reading))


def _first_image(path: Path, reading: Reading) -> tuple[Place | None, str, str]:
    """Return (place of the first image, name, owner) of a tar; no place where a class tar or a devkit comes first."""
    name = owner = before = ""
    left_out = Counter[str]()
    default = reading.splits.of_source(path) or ""
    with open_tar(path) as (_, members):
        for member in members:
            base = member.name.rpartition("/")[2]
            refuse_shards(path, before, member.name)
            before = member.name
            if base == TINY:
                raise TinyImagenetError(path)
            try:
                found = place(member.name + "/" * member.is_directory, str(path), default, reading.splits)
            except SourceError:
                refuse_shards(path, before, _next_name(members))
                raise
            if found:
                refuse_shards(path, before, _next_name(members))
            is_hidden = base.startswith(".")
            name, owner = (name, owner) if (name and not found) or is_hidden else (member.name, member.owner)
            if not is_hidden and (
                found or CLASS_TAR.fullmatch(base) or DEVKIT.fullmatch(member.name.removeprefix("./"))
            ):
                return found, member.name, member.owner
            if not member.is_directory:
                left_out[kind_of(member.name)] += 1
    reading.left_out.note(path, "", left_out)
    return None, name, owner


def _next_name(members: Iterator[Member]) -> str:
    member = next(members, None)
    return member.name if member else ""


def _holds_images_of(path: Path, wnid: str) -> bool:
    """Whether a tar named by a class holds that class's images themselves, in no folder of their own."""
    with open_tar(path) as (_, members):
        names = (member.name.rpartition("/")[2] for member in members if not member.is_directory)
        return next((name.startswith(f"{wnid}_") for name in names if name.lower().endswith(SUFFIXES)), False)


def made_by_other_tool(name: str) -> str | None:
    """Return what a file is that other tools make of ImageNet; its images are decoded or resized already."""
    return next((what for suffix, what in OTHERS.items() if suffix in name.lower()), None)
