"""Parquet files of images, as Hugging Face's data sets are stored: recognised, and read in the order of the file.

A first reading takes the labels and the names of the images alone, because parquet stores columns apart. It finds rows
without a label, the classes, and names that come twice. If every image has a name with an extension, the images
themselves are read once, when they are written; else a reading before gives each its extension.
"""

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from functools import partial as bind
from pathlib import Path
from typing import Any

from ..base.errors import SourceError
from ..base.progress import Progress, counter, silent
from ..sources.naming import SplitNames
from ..sources.parts import MAX_IMAGE
from ..sources.reading import check_choices
from .images import LabelledSource
from .parquet_files import ParquetFile, find_files
from .parquet_rows import Scanned, images_of, label_of, listing_of, open_parquet, own_name, row_split, rows_of
from .parquet_schema import Columns, columns_of
from .rows import INTEGER

LAYOUT = "parquet"


def parquet_sources(
    sources: Sequence[Path],
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    split_from: Mapping[str, str] | None = None,
    skip: Path | None = None,
    progress: Progress = silent,
) -> list[LabelledSource]:
    """Return the images of parquet files and of folders that hold them, one source for each file.

    ``split_from`` is {name of a file or folder, or value of a split column: split}; ``skip`` is a folder to pass over.
    Raises SourceError for a file that is damaged or has no images, for rows without a label, and for a choice that
    only the user can make.
    """
    check_choices(split_from or {})
    splits = SplitNames(split_from)
    files = find_files(sources, splits, skip)
    use_split = not any(file.split for file in files)
    found: list[Scanned] = []
    count = counter(progress, "labels, MB", sum(file.path.stat().st_size for file in files), 10**6)
    for file in files:
        with open_parquet(file.path) as opened:
            columns = columns_of(
                opened.schema_arrow, file.path, image=image_column, label=label_column, use_split=use_split
            )
            if found:
                _check_alike(found[0], columns, file.path)
            found.append(_scan(file, opened, columns, splits))
        count(file.path.stat().st_size)
    if splits.unused:
        raise SourceError(
            f"no file or folder of the sources, and no split in them, is named {splits.unused[0]!r}; correct "
            f"--split-from"
        )
    _check_test(found)
    ids = _class_ids(found)
    names = dict(found[0].columns.class_names)
    repeated = _repeated(found)
    left_out = found[0].columns.left_out
    notes = (_note(found[0].columns), *((f"left out: the columns {', '.join(left_out)}",) if left_out else ()))
    return [
        LabelledSource(
            path=one.file.path,
            layout=LAYOUT,
            images=bind(images_of, one, repeated, splits),
            listing=bind(listing_of, one, repeated, splits) if one.suffixed else None,
            class_ids=ids,
            names=names,
            notes=notes if one is found[0] else (),
            streamed=True,
            sized=not one.suffixed,
        )
        for one in found
    ]


def _note(columns: Columns) -> str:
    text = f"the images are in {columns.image!r}, the labels in {columns.label!r}"
    return text + (f", the splits in {columns.split!r}" if columns.split else "")


def _scan(file: ParquetFile, opened: Any, columns: Columns, splits: SplitNames) -> Scanned:
    """Read the labels and names of a file. Raises SourceError for a row without a label, with its number."""
    labels: set[str] = set()
    names = array("Q")
    labelled = unlabelled = 0
    suffixed = True
    if opened.metadata.num_rows == 0:
        raise SourceError(f"{file.path} has no rows; copy or download it again, or leave it out")
    for number, row in rows_of(opened, columns, images=False, further=False):
        where = f"row {number} of {file.path}"
        split = row_split(row, file, columns, splits, where)
        label = label_of(row.get(columns.label), columns, where)
        labels.add(label)
        labelled, unlabelled = labelled + bool(label and split == "test"), unlabelled + (not label)
        if not label and split != "test":
            raise SourceError(
                f"{where} has no label in {columns.label!r}; correct it, or choose another column with --label-column"
            )
        stem, suffix = own_name(row, columns)
        suffixed = suffixed and bool(suffix)
        names.append(_digest(f"{split}\0{stem}") if stem else 0)
    return Scanned(
        file, columns, frozenset(labels - {""}), names, suffixed, _mean(opened, columns), (labelled, unlabelled)
    )


def _check_alike(first: Scanned, columns: Columns, path: Path) -> None:
    if columns != first.columns:
        differ = "other classes" if columns.class_ids != first.columns.class_ids else "other columns"
        raise SourceError(
            f"{path} has {differ} than {first.file.path}; give the files of one data set and one configuration"
        )


def _check_test(found: Sequence[Scanned]) -> None:
    labelled, unlabelled = (sum(one.test[at] for one in found) for at in (0, 1))
    if labelled and unlabelled:
        first = next(one.file.path for one in found if one.test[1])
        raise SourceError(
            f"{unlabelled} of {labelled + unlabelled} images of test have no label, the first in {first}; label all of "
            f"them or none"
        )


def _class_ids(found: Sequence[Scanned]) -> tuple[str, ...]:
    """Return the class ids in the order of the source if it numbers them; else none."""
    if found[0].columns.class_ids:
        return found[0].columns.class_ids
    held = frozenset[str]().union(*(one.labels for one in found))
    if held and all(map(INTEGER.fullmatch, held)):
        return tuple(sorted(held, key=int))
    return ()


def _repeated(found: Sequence[Scanned]) -> frozenset[int]:
    """Return the digests of names that come more than once."""
    import numpy as np

    digests = np.concatenate([np.frombuffer(one.names, dtype=np.uint64) for one in found])
    values, counts = np.unique(digests, return_counts=True)
    return frozenset(map(int, values[counts > 1]))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.casefold().encode("utf-8", "replace"), digest_size=8).digest()) or 1


def _mean(opened: Any, columns: Columns) -> int:
    """Return the mean bytes of an image, as the file's metadata has them."""
    total = 0
    for group in range(opened.metadata.num_row_groups):
        held = opened.metadata.row_group(group)
        for number in range(held.num_columns):
            column = held.column(number)
            if column.path_in_schema in (columns.image, f"{columns.image}.bytes"):
                total += column.total_uncompressed_size
    return max(1, min(MAX_IMAGE, total // opened.metadata.num_rows))
