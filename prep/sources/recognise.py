"""Recognising sources by content: a file's first bytes and first names, a folder's files.

Names of files are only a hint: browsers rename, mirrors re-pack, and ImageNet-V2's .tar.gz is no gzip. What was
recognised is reported before anything is written, so that the user sees a wrong result at once.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..archives.compressed import compression_of, open_tar
from ..archives.tar import Member
from ..archives.zip import read_zip_member
from ..base.errors import SourceError
from ..base.manifest import MANIFEST
from ..base.output import PARTIAL
from .class_tars import class_of_tar, class_tars, names_in_class_tar, train_archive
from .label_lists import (
    DEVKIT,
    MAX_TEXT,
    META,
    TEXTS,
    LabelList,
    devkit_archive,
    devkit_folder,
    labels_in_file,
    labels_in_text,
)
from .naming import (
    CLASS_TAR,
    OFFICIAL_NAMES,
    SPELLINGS,
    SUFFIXES,
    V2,
    WNID,
    Place,
    SplitNames,
    kind_of,
    place,
    split_named,
)
from .parquet import PARQUET, parquet_part
from .parts import SIGNATURE, Listing, Part
from .reading import LeftOut, Reading, check_choices, listed
from .strange import (
    PIECE,
    ForeignError,
    broken_links,
    joined_name,
    refuse_piece,
    refuse_shards,
    refuse_strange,
    refuse_unfinished,
)
from .streams import tar_part
from .trees import Entry, Folder, Zip, tree_parts

ARCHIVES = (
    *(".tar", ".tgz", ".gz", ".zip", ".parquet", ".xz", ".txz", ".bz2", ".tbz", ".tbz2", ".zst", ".tzst"),
    *(".7z", ".rar"),
)
OTHERS = {".tfrecord": "a TFRecord file", ".npz": "a NumPy archive of small images", ".beton": "an FFCV file"}
ZIP = b"PK"
TINY = "wnids.txt"
KAGGLE_LABELS = "LOC_val_solution.csv"
MAX_DEPTH = 32  # folders below a source
# Folders that file systems and Windows keep for themselves.
NOT_OURS = frozenset(("lost+found", "$recycle.bin", "system volume information", "@eadir", "__macosx"))


@dataclass(frozen=True)
class Recognised:
    """All that was recognised in the sources."""

    parts: tuple[Part, ...]
    label_lists: tuple[LabelList, ...]
    ignored: tuple[str, ...] = ()
    """What else lay in the folders, a sentence each."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of classes in the source's own lists."""
    left_out: Mapping[Path, Counter[str]] = field(default_factory=LeftOut)
    """{source: files that are not taken, by kind}; of tars complete after their images were read, or if ``recognise``
    was told to count."""
    splits: SplitNames = field(default_factory=SplitNames)
    """The names of splits; which of the chosen ones occurred is complete when ``left_out`` is."""


class TinyImagenetError(ForeignError):
    """``path`` holds Tiny-ImageNet, which ``recognise_tiny`` takes."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is Tiny-ImageNet; prepare it with: feedline prep tiny-imagenet {path} --out ROOT")
        self.path = path


def recognise(
    sources: Sequence[Path],
    skip: Path | None = None,
    *,
    split_from: Mapping[str, str] | None = None,
    count: bool = False,
) -> Recognised:
    """Return what the sources hold; a folder below them named ``skip``, the output, is left out.

    ``split_from`` is {name of a folder or archive: split} for names that do not say their split. With ``count``, tars
    are read through, so that ``left_out`` is complete. Raises SourceError for a source that is missing, empty, damaged
    or unknown, and for folders of the same classes whose names do not say their splits.
    """
    check_choices(split_from or {})
    reading = Reading(splits=SplitNames(split_from), skip=skip, count=count)
    parts: list[Part] = []
    label_lists: list[LabelList] = []
    ignored: list[str] = []
    for source in sources:
        if not source.exists():
            if source.is_symlink():
                raise broken_links([source])
            raise SourceError(f"{source} does not exist; give the ILSVRC2012 archives or the folder that holds them")
        found = _folder(source, reading) if source.is_dir() else _file(source, reading)
        parts += found.parts
        label_lists += found.label_lists
        ignored += found.ignored
    unused = reading.splits.unused
    if unused and not any(part.streamed or len(part.splits) > 1 for part in parts):
        raise SourceError(f"no folder or archive of the sources is named {unused[0]!r}; correct --split-from")
    return Recognised(
        tuple(parts), tuple(label_lists), tuple(ignored), left_out=reading.left_out, splits=reading.splits
    )


def _file(path: Path, reading: Reading) -> Recognised:
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise SourceError(f"{path} is empty: copy or download it again")
    if other := _other(path.name):
        raise SourceError(f"{path} is {other}, made from the archives for another tool; give the archives themselves")
    refuse_strange(path, start)
    if compression_of(path):
        with open_tar(path) as (stream, _):
            inside = stream.read(512)
        refuse_strange(path, inside)
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
        raise ForeignError(_nothing_in(path, first, reading))
    return Recognised(parts, tuple(label_lists))


def _zipped_labels(path: Path, name: str, position: int) -> list[LabelList]:
    with path.open("rb") as file:
        found = labels_in_text(read_zip_member(file, position, str(path)), f"{name} in {path}")
    return [found] if found else []


def _nothing_in(path: Path, first: str, reading: Reading) -> str:
    """Return the sentence for an archive without images of ImageNet; ``first`` is its first file."""
    if in_test := sorted(kind for kind in reading.left_out.get(path, ()) if kind.endswith("of test")):
        return (
            f"{path} holds {in_test[0]} only, and test has no labels in ImageNet; take them as val: "
            f"feedline prep imagenet {path} --out ROOT --split-from test=val"
        )
    if not first:
        return f"{path} holds no file; copy or download it again"
    unpack = "tar xf" if path.suffix != ".zip" else "unzip"
    hint = f"; unpack it and give the folder: {unpack} {path}" if first.lower().endswith(ARCHIVES) else ""
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
    raise ForeignError(_nothing_in(path, name, reading))


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


def _split_above(folders: Sequence[str], reading: Reading) -> str | None:
    """Return the split that the nearest of the folders says."""
    return next((found for found in map(reading.splits.of, reversed(folders)) if found), None)


def _folder(folder: Path, reading: Reading) -> Recognised:
    files, tars, archives, texts = Listing(), dict[tuple[Path, str], list[Path]](), list[Path](), list[Path]()
    label_lists: list[LabelList] = []
    ignored: list[str] = []
    foreign: list[ForeignError] = []
    left_out = Counter[str]()
    pieces: list[Path] = []
    for name, entry in walk_folder(folder, reading, left_out):
        path = Path(entry.path)
        if other := _other(entry.name):
            ignored = ignored or [f"{path} is {other}, made from the archives for another tool; give the archives"]
            left_out[kind_of(name)] += 1
        elif entry.name.lower().endswith(SUFFIXES):
            if _is_relevant(name, reading):
                files.add(name, 0, entry.stat().st_size)
            else:
                left_out[kind_of(name)] += 1
        elif CLASS_TAR.fullmatch(entry.name):
            split = _split_above(name.split("/")[:-1], reading) or "train"
            tars.setdefault((path.parent, split), []).append(path)
        elif path.suffix.lower() in ARCHIVES and not entry.name.startswith("."):
            archives.append(path)
            if split := _split_above(name.split("/")[:-1], reading):
                reading.splits.above[path] = split
        elif entry.name == META:
            label_lists.append(devkit_folder(path))
        elif entry.name == TINY:
            raise TinyImagenetError(folder)
        elif path.suffix in TEXTS and name.count("/") <= 2:
            texts.append(path)
        else:
            refuse_unfinished(path)
            if PIECE.search(entry.name):
                pieces.append(path)
            left_out[kind_of(name)] += 1
    for piece in pieces:
        if not (piece.parent / joined_name(piece.name)).exists():
            refuse_piece(piece)
    files = _without_class_tars(folder, files, tars, reading, left_out)
    parts = [part for (place_, split), found in tars.items() for part in class_tars(place_, found, split, reading)]
    parts += tree_parts(Folder(folder, files), reading)
    for path in archives:
        try:
            found = _file(path, reading)
        except ForeignError as error:  # boxes, another data set: a folder of downloads may hold anything
            ignored.append(str(error))
            foreign.append(error)
            left_out[kind_of(path.name)] += 1
            continue
        parts += found.parts
        label_lists += found.label_lists
    lists = [(path, labels_in_file(path)) for path in texts]
    label_lists += [found for _, found in lists if found]
    left_out.update(kind_of(path.name) for path, found in lists if not found)
    reading.left_out.note(folder, "walk", left_out)
    if not parts and not label_lists:
        raise _nothing_in_folder(folder, ignored, foreign, reading)
    return Recognised(tuple(parts), tuple(label_lists), tuple(ignored))


def _nothing_in_folder(
    folder: Path, ignored: Sequence[str], foreign: Sequence[ForeignError], reading: Reading
) -> SourceError:
    for error in foreign:
        if isinstance(error, TinyImagenetError):
            return error
    kinds = reading.left_out.get(folder, Counter[str]())
    if ignored:
        return SourceError(ignored[0])
    if any(kind.endswith("of test") for kind in kinds):
        return SourceError(_nothing_in(folder, "", reading))
    what = listed(kinds) if kinds else "no file"
    return SourceError(f"{folder} holds nothing of ImageNet, but {what}; give the folder that holds the archives")


def _without_class_tars(
    folder: Path,
    files: Listing,
    tars: Mapping[tuple[Path, str], Sequence[Path]],
    reading: Reading,
    left_out: "Counter[str]",
) -> Listing:
    """Return the files without the class folders whose class tar is there too, as after a script that was stopped.

    The tar is whole, and the folder may hold a part of it. Raises SourceError if the folder holds anything else.
    """
    held = {(split, class_of_tar(tar)): tar for (_, split), found in tars.items() for tar in found}
    if not held:
        return files
    kept, doubled = Listing(), dict[Path, list[str]]()
    for name, position, size in files:
        found = place(name, str(folder), "", reading.splits)
        tar = held.get((found.split, found.wnid)) if found else None
        if tar is None:
            kept.add(name, position, size)
        else:
            doubled.setdefault(tar, []).append(name)
    for tar, names in doubled.items():
        inside = names_in_class_tar(tar)
        for name in names:
            if name.rpartition("/")[2] not in inside:
                raise SourceError(
                    f"{folder} holds the class of {tar.name} as a folder too, and {tar} lacks {name!r}; give one"
                )
            left_out[f"{kind_of(name)} that a class tar holds too"] += 1
    return kept


def walk_folder(
    folder: Path, reading: Reading, left_out: "Counter[str] | None" = None
) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yield (path from the folder's own name on, entry) of the files below it.

    Hidden folders, shards and roots that are finished or in the making, the folder ``reading.skip`` and the folders of
    file systems are left out, and counted. Raises SourceError for broken links, and for a folder that cannot be read.
    """
    left_out = Counter() if left_out is None else left_out
    waiting = [(_top_name(folder, reading), folder)]
    broken: list[Path] = []
    while waiting:
        name, place_ = waiting.pop()
        try:
            with os.scandir(place_) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise SourceError(
                f"cannot read the folder {place_}: {error.strerror}; allow it, or give other folders"
            ) from error
        made_here = any(entry.name in (MANIFEST, PARTIAL) for entry in entries)
        if place_ != folder and (
            made_here or (reading.skip and reading.skip.exists() and place_.samefile(reading.skip))
        ):
            left_out[f"{place_.name}/"] += 1
            continue
        for entry in entries:
            below = f"{name}/{entry.name}"
            if _is_folder(entry):
                if entry.name.startswith(".") or entry.name.lower() in NOT_OURS:
                    left_out[f"{entry.name}/"] += 1
                elif not (entry.is_symlink() and _leads_up(entry)):
                    if below.count("/") >= MAX_DEPTH:
                        raise SourceError(
                            f"{entry.path} lies more than {MAX_DEPTH} folders deep; give a folder below it"
                        )
                    waiting.append((below, Path(entry.path)))
            elif entry.is_symlink() and not Path(entry.path).exists():
                broken.append(Path(entry.path))
            elif entry.is_file():
                yield below, entry
            else:
                left_out["no regular file"] += 1
    if broken:
        raise broken_links(sorted(broken))


def _top_name(folder: Path, reading: Reading) -> str:
    """Return the name of a source, the first part of its files' paths: it may be the only one that says the split."""
    top = folder.resolve().name
    split = reading.splits.of_source(Path(top))
    try:
        is_known = place(f"{top}/n00000000/x.jpg", "", "train") is not None
    except SourceError:
        is_known = False
    if top in reading.splits.chosen or (is_known and split == split_named(top)):
        return top
    return split or "source"


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _leads_up(entry: "os.DirEntry[str]") -> bool:
    """Whether a link leads to a folder that holds it, so that following it would have no end."""
    target = os.path.realpath(entry.path)
    return Path(os.path.realpath(Path(entry.path).parent)).is_relative_to(target)


def _is_relevant(name: str, reading: Reading) -> bool:
    """Whether an image in a folder is meant to be data: it has an official name, or lies in a class or split."""
    *folders, base = name.split("/")
    official = any(pattern.fullmatch(base) for pattern in OFFICIAL_NAMES)
    return official or any(WNID.fullmatch(part) or V2.fullmatch(part) or reading.splits.of(part) for part in folders)


def _other(name: str) -> str | None:
    """Return what a file is that other tools make of ImageNet; its images are decoded or resized already."""
    return next((what for suffix, what in OTHERS.items() if suffix in name.lower()), None)
