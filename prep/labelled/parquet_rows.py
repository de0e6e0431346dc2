"""The rows of a parquet file as labelled images, a few at a time: bytes, name, split, class and further values."""

import math
from array import array
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from ..base.errors import SourceError
from ..images.files import is_image_name
from ..images.opening import allowed_format, description
from ..sources.naming import SplitNames
from ..sources.parquet import ROWS, library
from ..sources.parts import check_size
from ..sources.reader import Reader
from .images import LabelledImage
from .parquet_files import ParquetFile
from .parquet_schema import Columns
from .rows import normal_path

LABEL_ROWS = 8192  # rows of labels and names in memory
VALUE_ROWS = 256  # rows of further values in memory
BUFFER = 1 << 20  # bytes that are read of a column at a time; without it a row group's images are in memory
SUFFIXES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "GIF": ".gif",
    "PPM": ".ppm",
    "TIFF": ".tif",
}


@dataclass(frozen=True)
class Scanned:
    """A file whose labels and names have been read."""

    file: ParquetFile
    columns: Columns
    labels: frozenset[str]
    """The class ids that occur."""
    names: "array[int]"
    """Digests of the names of its images with their splits; 0 for a row without one."""
    suffixed: bool
    """Whether every image has a name with the extension of an image."""
    mean: int
    """Bytes of an image, by the file's own account."""
    test: tuple[int, int]
    """How many images of test have a label, and how many have none."""


@contextmanager
def open_parquet(path: Path) -> Generator[Any]:
    """Open a parquet file. Raises SourceError for damage, also while it is read."""
    parquet = library()
    import pyarrow as pa

    try:
        with parquet.ParquetFile(path, buffer_size=BUFFER) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # also texts that are no UTF-8, and times
        text = " ".join(str(error).split())[:200]
        raise SourceError(f"{path} is damaged or no parquet file ({text}); copy or download it again") from error


def rows_of(opened: Any, columns: Columns, *, images: bool, further: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, values) of the rows of a file, without columns that are not needed."""
    wanted = [columns.label, *([columns.split] if columns.split else [])]
    if images:
        wanted.append(columns.image)
    elif columns.has_path:
        wanted.append(f"{columns.image}.path")
    if further:
        wanted += [name for name, _ in columns.further]
    size = ROWS if images else LABEL_ROWS if not further else VALUE_ROWS
    number = 0
    for batch in opened.iter_batches(batch_size=size, columns=wanted, use_threads=False):
        for row in batch.to_pylist():
            yield number, cast(dict[str, Any], row)
            number += 1


def listing_of(one: Scanned, repeated: frozenset[int], splits: SplitNames, reader: Reader) -> Iterator[LabelledImage]:
    """Yield the images of a file without their bytes, with the mean of their sizes."""
    with open_parquet(one.file.path) as opened:
        for number, row in rows_of(opened, one.columns, images=False, further=True):
            yield _image(one, number, row, b"", one.mean, repeated, splits)


def images_of(one: Scanned, repeated: frozenset[int], splits: SplitNames, reader: Reader) -> Iterator[LabelledImage]:
    with open_parquet(one.file.path) as opened:
        for number, row in rows_of(opened, one.columns, images=True, further=True):
            data = _bytes(row.get(one.columns.image), one.columns, f"row {number} of {one.file.path}")
            yield _image(one, number, row, data, len(data), repeated, splits)


def _image(
    one: Scanned,
    number: int,
    row: Mapping[str, Any],
    data: bytes,
    size: int,
    repeated: frozenset[int],
    splits: SplitNames,
) -> LabelledImage:
    columns, where = one.columns, f"row {number} of {one.file.path}"
    if number >= len(one.names):
        raise SourceError(f"{one.file.path} changed while it was read; run again")
    stem, suffix = own_name(row, columns)
    if not stem or one.names[number] in repeated:
        stem = f"{one.file.name}-{number}"
    return LabelledImage(
        name=stem + (suffix or SUFFIXES[allowed_format(data) or "JPEG"]),
        size=size,
        data=data,
        where=where,
        split=row_split(row, one.file, columns, splits, where),
        label=label_of(row.get(columns.label), columns, where),
        columns={kept: _json(row.get(name), f"{where}, {name!r},") for name, kept in columns.further},
    )


def _bytes(value: Any, columns: Columns, where: str) -> bytes:
    data: Any = cast(dict[str, Any], value).get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        path: Any = cast(dict[str, Any], value).get("path") if isinstance(value, dict) else None
        but = f", but the path {str(path)[:80]!r}: the images are not in the file" if path else ""
        raise SourceError(f"{where} has no image in {columns.image!r}{but}; get the file with the images in it")
    check_size(len(data), where)
    if allowed_format(data) is None:
        raise SourceError(f"{where} holds no image in {columns.image!r}: it {description(data)}; correct the row")
    return data


def own_name(row: Mapping[str, Any], columns: Columns) -> tuple[str, str]:
    """Return (name without folders, extension of an image) of a row's path; "" for what it lacks."""
    image: Any = row.get(columns.image)
    path: Any = cast(dict[str, Any], image).get("path") if isinstance(image, dict) else None
    if not isinstance(path, str):
        return "", ""
    base = normal_path(path).rpartition("/")[2].strip(". ")
    stem, dot, suffix = base.rpartition(".")
    return (stem, dot + suffix) if is_image_name(base) and stem else (base, "")


def row_split(row: Mapping[str, Any], file: ParquetFile, columns: Columns, splits: SplitNames, where: str) -> str:
    if file.split or not columns.split:
        return file.split
    text: Any = row.get(columns.split)
    split = splits.of(text) if isinstance(text, str) else None
    if split is None:
        raise SourceError(
            f"{where} has {text!r} in {columns.split!r}, which is no known name of a split; say which it is, with "
            f'train, val or test for SPLIT: --split-from "{text}=SPLIT"'
        )
    return split


def label_of(value: Any, columns: Columns, where: str) -> str:
    """Return the class id of a row's label; "" for null and for -1, which Hugging Face uses for unlabelled images."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, float) and not value.is_integer():
        raise SourceError(
            f"{where} has {value} in {columns.label!r}, which is no class; choose another with --label-column"
        )
    number = int(value)
    if number == -1:
        return ""
    if not columns.class_ids:
        return str(number)
    if not 0 <= number < len(columns.class_ids):
        raise SourceError(
            f"{where} has the label {number} in {columns.label!r}, and the file names {len(columns.class_ids)} "
            f"classes; copy or download it again"
        )
    return columns.class_ids[number]


def _json(value: Any, where: str) -> Any:
    """Return a value as JSON has it: times as text, NaN as null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise SourceError(f"{where} holds {value}, which JSON does not have; correct it, or leave the column out")
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {str(key): _json(inner, where) for key, inner in cast(dict[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_json(inner, where) for inner in cast(Sequence[Any], value)]
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
