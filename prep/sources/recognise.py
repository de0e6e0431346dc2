"""Recognising sources by content: a file's first bytes and first names, a folder's files.

Names of files are only a hint: browsers rename, mirrors re-pack, and ImageNet-V2's .tar.gz is no gzip. What was
recognised is reported before anything is written, so that the user sees a wrong result at once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..base.errors import SourceError
from ..base.shell import shell_word
from .class_tars import class_of_tar, class_tars, names_in_class_tar
from .label_lists import (
    META,
    TEXTS,
    LabelList,
    devkit_folder,
    labels_in_file,
)
from .naming import (
    CLASS_TAR,
    OFFICIAL_NAMES,
    SUFFIXES,
    V2,
    WNID,
    SplitNames,
    kind_of,
    place,
)
from .parts import Listing, Part
from .reading import Reading, check_choices, listed
from .recognise_file import ARCHIVES, TINY, made_by_other_tool, nothing_in, recognise_file
from .recognised import Recognised, TinyImagenetError
from .strange import (
    PIECE,
    ForeignError,
    broken_links,
    joined_name,
    refuse_piece,
    refuse_special,
    refuse_unfinished,
)
from .trees import Folder, tree_parts
from .walking import walk_folder


def recognise(
    sources: Sequence[Path],
    skip: Path | None = None,
    *,
    split_from: Mapping[str, str] | None = None,
    count: bool = False,
    command: str = "prep imagenet",
) -> Recognised:
    """Return what the sources hold; a folder below them named ``skip``, the output, is left out.

    ``split_from`` is {name of a folder or archive: split} for names that do not say their split. With ``count``, tars
    are read through, so that ``left_out`` is complete. Messages name the command ``command``. Raises SourceError for a
    source that is missing, empty, damaged or unknown, and for folders of the same classes whose names do not say their
    splits.
    """
    check_choices(split_from or {})
    reading = Reading(splits=SplitNames(split_from), skip=skip, count=count, command=command)
    parts: list[Part] = []
    label_lists: list[LabelList] = []
    ignored: list[str] = []
    for source in sources:
        if not source.exists():
            if source.is_symlink():
                raise broken_links([source])
            raise SourceError(f"{source} does not exist; give the ILSVRC2012 archives or the folder that holds them")
        refuse_special(source)
        found = _folder(source, reading) if source.is_dir() else recognise_file(source, reading)
        parts += found.parts
        label_lists += found.label_lists
        ignored += found.ignored
    unused = reading.splits.unused
    if unused and not any(part.streamed or len(part.splits) > 1 for part in parts):
        raise SourceError(f"no folder or archive of the sources is named {unused[0]!r}; correct --split-from")
    return Recognised(
        tuple(parts), tuple(label_lists), tuple(ignored), left_out=reading.left_out, splits=reading.splits
    )


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
        if other := made_by_other_tool(entry.name):
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
            found = recognise_file(path, reading)
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
        return SourceError(nothing_in(folder, "", reading))
    what = listed(kinds) if kinds else "no file"
    return SourceError(
        f"{folder} holds nothing of ImageNet, but {what}; give the folder that holds the archives, or, for images of "
        f"your own, run: feedline prep imagefolder {shell_word(folder)} --out ROOT"
    )


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


def _is_relevant(name: str, reading: Reading) -> bool:
    """Whether an image in a folder is meant to be data: it has an official name, or lies in a class or split."""
    *folders, base = name.split("/")
    official = any(pattern.fullmatch(base) for pattern in OFFICIAL_NAMES)
    return official or any(WNID.fullmatch(part) or V2.fullmatch(part) or reading.splits.of(part) for part in folders)
