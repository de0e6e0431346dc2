"""Images whose labels stand in lists: the sources hold the images, the lists their classes, splits and columns."""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial as bind
from pathlib import Path

from ..base.errors import SourceError
from ..base.progress import Notice, Progress, quiet, silent
from ..sources.naming import SPLITS, SplitNames, kind_of, split_of_source
from ..sources.reader import Location, Reader
from ..sources.reading import check_choices
from .files import Files, list_files, stream
from .images import LabelledImage, LabelledSource
from .matching import Matches, match, named_images
from .roles import roles_of
from .rows import NONE, Rows
from .tables import open_table

LAYOUT = "label list"


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """How lists of labels are read; what is None is recognised."""

    file_column: str | None = None
    """The column with the paths or names of the images."""
    label_column: str | None = None
    """The column with the classes."""
    encoding: str | None = None
    """The text encoding, by a name that Python has for it, such as "cp1252"."""
    delimiter: str | None = None
    """The character between the columns of a CSV file."""
    skip_missing: bool = False
    """Whether rows whose image is missing are left out and counted; else they are an error."""


def listed_sources(
    sources: Sequence[Path],
    lists: Sequence[Path],
    options: ListOptions | None = None,
    *,
    split_from: Mapping[str, str] | None = None,
    skip: Path | None = None,
    progress: Progress = silent,
    notice: Notice = quiet,
) -> list[LabelledSource]:
    """Return the images of the sources that the lists label.

    ``split_from`` is {value of a split column, name of a folder or of a list: split}; ``skip`` is passed over. Images
    without a row are left out and counted. Raises SourceError for a list that cannot be read, that contradicts itself,
    or that names missing images, and for a choice that only the user can make.
    """
    options = options or ListOptions()
    check_choices(split_from or {})
    names = SplitNames(split_from)
    files = [list_files(path, names, skip) for path in sources]
    for source in files:
        _pass_over(source, lists)
    rows = Rows()
    for path in lists:
        lookup = bind(named_images, files, path)
        table = open_table(path, encoding=options.encoding, delimiter=options.delimiter, lookup=lookup)
        roles = roles_of(table, lookup, file=options.file_column, label=options.label_column, splits=names)
        rows.add(table, roles, names, progress)
        notice(
            f"{path}: the files are in {roles.file!r}, the labels in {roles.label!r}"
            + (f", the splits in {roles.split!r}" if roles.split else "")
        )
    rows.check_single()
    matches = match(files, rows, lists)
    _check_missing(matches, rows, files, options, notice)
    splits = _splits(files, matches, rows, names)
    _check_labels(matches, splits, rows, files)
    if names.unused:
        raise SourceError(
            f"no folder of the sources and no split of the lists is named {names.unused[0]!r}; correct --split-from"
        )
    if rows.doubled:
        notice(f"{rows.doubled} row{'s repeat' if rows.doubled > 1 else ' repeats'} another one, and count once")
    order = rows.class_order(row for found in matches.rows_of for row in found if row != NONE)
    return [
        LabelledSource(
            path=source.path,
            layout=LAYOUT,
            images=bind(_images if source.streamed else _listing, source, found, of, rows),
            listing=bind(_listing, source, found, of, rows),
            class_ids=order,
            left_out=_left_out(source, found),
            streamed=source.streamed,
        )
        for source, found, of in zip(files, matches.rows_of, splits, strict=True)
    ]


def _pass_over(source: Files, lists: Sequence[Path]) -> None:
    """Do not count the lists themselves among the files of a folder that are left out."""
    for path in {path.resolve() for path in lists}:
        kind = kind_of(path.name)
        if path.is_relative_to(source.path.resolve()) and source.left_out[kind]:
            source.left_out[kind] -= 1


def _listing(
    source: Files, found: "array[int]", splits: "array[int]", rows: Rows, reader: Reader
) -> Iterator[LabelledImage]:
    for number, (name, position, size) in enumerate(source):
        if found[number] != NONE:
            data = b"" if source.streamed else source.location(name, position)
            yield _image(source, name, position, size, data, found[number], splits[number], rows)


def _images(
    source: Files, found: "array[int]", splits: "array[int]", rows: Rows, reader: Reader
) -> Iterator[LabelledImage]:
    """Yield the images of a compressed tar with their bytes."""
    for number, (name, position, size, data) in enumerate(stream(source)):
        if number >= len(found):
            raise SourceError(f"{source.path} changed while it was read; run again")
        if found[number] != NONE:
            yield _image(source, name, position, size, data, found[number], splits[number], rows)


def _image(
    source: Files,
    name: str,
    position: int,
    size: int,
    data: Location | bytes,
    row: int,
    split: int,
    rows: Rows,
) -> LabelledImage:
    return LabelledImage(
        name=name,
        size=size,
        data=data,
        where=source.where(name, position),
        split="" if split == NONE else SPLITS[split],
        label=rows.label(row),
        columns=rows.columns(row),
    )


def _left_out(source: Files, found: "array[int]") -> tuple[str, ...]:
    kinds = sorted(source.left_out.items(), key=lambda item: (-item[1], item[0]))
    unlabelled = found.count(NONE)
    without = [f"{unlabelled} image{'s' * (unlabelled != 1)} without a row in the list"] if unlabelled else []
    return (*without, *(f"{count} {kind}" for kind, count in kinds if count))


def _check_missing(matches: Matches, rows: Rows, files: Sequence[Files], options: ListOptions, notice: Notice) -> None:
    """Raise SourceError for rows whose image is missing, unless they are left out on request."""
    images = sum(map(len, files))
    sources = " ".join(str(source.path) for source in files)
    if not images:
        raise SourceError(f"{sources} holds no image; give the folder or the archive of the images")
    missing = matches.missing
    if not missing:
        return
    first = missing[0]
    named = _path_of(rows, first)
    if len(missing) == len(rows):
        an_image = next(name for source in files for name, _, _ in source)
        raise SourceError(
            f"no row of {rows.where(first).path} names an image of {sources}: the first row names {named[:200]!r}, and "
            f"the first image is {an_image[:200]!r}; correct the paths, give the folder that they start from, or name "
            f"the column with --file-column"
        )
    count = f"{len(missing)} row{'s' * (len(missing) != 1)}"
    if not options.skip_missing:
        raise SourceError(
            f"{rows.where(first)} names {named[:200]!r}, which is not in {sources} ({count} of {len(rows)} name "
            f"missing images); add the images, or leave the rows out with --skip-missing"
        )
    notice(f"left out: {count} of {len(rows)} that name missing images, the first {named[:200]!r}")


def _path_of(rows: Rows, row: int) -> str:
    return next(path for by_path in rows.by_path for path, number in by_path.items() if number == row)


def _splits(files: Sequence[Files], matches: Matches, rows: Rows, names: SplitNames) -> list["array[int]"]:
    """Return the split of each image, as its index in SPLITS: what its row says, else its folders, else its list."""
    of_folder = lru_cache(maxsize=65536)(bind(_split_of_folder, names))
    of_list = lru_cache(bind(_split_of_list, names))
    found: list[array[int]] = []
    said, unsaid, its_list = "", "", ""
    for source, rows_of in zip(files, matches.rows_of, strict=True):
        above = names.of_source(source.path.resolve())
        splits = array("b", [NONE]) * len(source)
        for number, (name, _, _) in enumerate(source):
            row = rows_of[number]
            if row == NONE:
                continue
            folder = name.rpartition("/")[0]
            split = rows.split(row) or of_folder(folder) or above or of_list(rows.list_of(row))
            if split:
                splits[number] = SPLITS.index(split)
                said = said or f"{name} is of {split}"
            else:
                unsaid, its_list = (unsaid, its_list) if unsaid else (name, rows.list_of(row).stem)
        found.append(splits)
    if said and unsaid:
        folder = unsaid.rpartition("/")[0].rpartition("/")[2]
        raise SourceError(
            f"nothing says the split of {unsaid}, but {said}; write it into a column named split, or say the split of "
            f"its {'folder' if folder else 'list'}, with train, val or test for SPLIT: "
            f'--split-from "{folder or its_list}=SPLIT"'
        )
    return found


def _split_of_list(names: SplitNames, path: Path) -> str | None:
    """Return the split that the name of a list says, such as "train.txt"."""
    for name in (path.name, path.stem):
        if name in names.chosen:
            return names.of(name)
    return split_of_source(path.stem)


def _split_of_folder(names: SplitNames, folder: str) -> str | None:
    for part in folder.split("/"):
        if part in names.chosen:
            return names.of(part)
        if split := split_of_source(part):
            return split
    return None


def _check_labels(matches: Matches, splits: Sequence["array[int]"], rows: Rows, files: Sequence[Files]) -> None:
    """Raise SourceError for an image without a label, unless it is of a test split that has none at all."""
    test = SPLITS.index("test")
    held = Counter[bool]()
    for rows_of, of in zip(matches.rows_of, splits, strict=True):
        for row, split in zip(rows_of, of, strict=True):
            if row == NONE:
                continue
            labelled = rows.label_of[row] != NONE
            if split == test:
                held[labelled] += 1
            if not labelled and (split != test or held[True]):
                raise SourceError(
                    f"{rows.where(row)} has no label for {_path_of(rows, row)[:200]!r}; add it, or remove the row"
                )
            if labelled and split == test and held[False]:
                raise SourceError(
                    f"{rows.where(row)} labels an image of test, but {held[False]} others of test have no label; "
                    f"label all of them or none"
                )
