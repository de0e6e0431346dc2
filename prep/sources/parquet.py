"""Hugging Face's parquet files: rows of (image bytes and path, label), read a few at a time with pyarrow.

The path keeps the original file name with the class behind it, so images get their names back; the label
column is the sorted index and has to agree. A subset numbers its own classes; then the names of its labels, which the
file stores, have to agree. pyarrow is an extra: ``pip install 'feedline[parquet]'``.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial as bind
from pathlib import Path
from typing import Any

from ..base.errors import SourceError
from ..base.shell import shell_word
from ..labels.imagenet import class_names, wnids
from .naming import Place, place
from .parts import Keep, Part, SourceImage, Unit, check_size
from .reader import Reader
from .streams import check_alike

PARQUET = b"PAR1"
ROWS = 32  # rows in memory: 4 MB of images
COLUMNS = {"image", "label"}
OTHER = "feedline prep parquet {} --out ROOT"


def parquet_part(path: Path) -> Part:
    """Return the part for one parquet file; raise SourceError if it is not one of ImageNet's."""
    row = next(_rows(path), None)
    if row is None:
        raise SourceError(f"{path} has no rows; copy or download it again")
    first, _ = row
    return Part(
        source=path,
        splits=(first.split,),
        layout=first.layout,
        size=path.stat().st_size,
        units=bind(_units, path, first),
        streamed=True,
    )


def _units(path: Path, first: Place, keep: Keep) -> list[Unit]:
    return [Unit("", bind(_images, path, first, keep), shared=True)]


def _images(path: Path, first: Place, keep: Keep, reader: Reader) -> Iterator[SourceImage]:
    for number, (found, data) in enumerate(_rows(path)):
        where = f"{found.name} in row {number} of {path}"
        check_alike(found, first, True, where)
        if keep(found.split, found.wnid):
            check_size(len(data), where)
            yield SourceImage(f"{found.split}/{found.path}", len(data), data, where)


def _rows(path: Path) -> Iterator[tuple[Place, bytes]]:
    """Yield (place, file) of every row; raise SourceError for damage and for rows whose label cannot be checked."""
    parquet = library()
    import pyarrow as pa

    try:
        with parquet.ParquetFile(path) as file:
            if not set(file.schema_arrow.names) >= COLUMNS:
                raise SourceError(
                    f"{path} has the columns {', '.join(file.schema_arrow.names)[:400]}, and ImageNet's have image and "
                    f"label; prepare another data set with: {OTHER.format(shell_word(path))}"
                )
            names = _label_names(file.schema_arrow.metadata or {})
            for batch in file.iter_batches(batch_size=ROWS, columns=sorted(COLUMNS), use_threads=False):
                for row in batch.to_pylist():
                    yield _row(row, path, names)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} is damaged or no parquet file ({error}); copy or download it again") from error


def _row(row: dict[str, Any], path: Path, names: list[str]) -> tuple[Place, bytes]:
    image, label = row["image"], row["label"]
    name = image.get("path") if isinstance(image, dict) else None
    data = image.get("bytes") if isinstance(image, dict) else None
    if not isinstance(name, str) or not isinstance(data, bytes):
        raise SourceError(
            f"{path} has a row without file name or bytes, so it is not known which class of ImageNet it is; prepare "
            f"it as a data set of its own with: {OTHER.format(shell_word(path))}"
        )
    try:
        found = place(name, str(path))
        reason = None if found else "that is no image"
    except SourceError as error:
        found, reason = None, error
    if found is None:
        raise SourceError(
            f"{path} has a row named {name!r}, which is not one of ImageNet's ({reason}); prepare another data set "
            f"with: {OTHER.format(shell_word(path))}"
        )
    expected = wnids().index(found.wnid) if found.wnid in set(wnids()) else -1
    if label != expected and not _is_named(label, found.wnid, names):
        raise SourceError(
            f"{path} labels {name!r} as class {label}, but it is class {expected}, and the file has no name of label "
            f"{label} that agrees; get the original, or prepare it as a data set of its own with: "
            f"{OTHER.format(shell_word(path))}"
        )
    return found, data


def _label_names(metadata: Mapping[bytes, bytes]) -> list[str]:
    """Return the names of the labels that Hugging Face's own metadata of a file lists, or none."""
    try:
        names = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]["label"]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _is_named(label: object, wnid: str, names: list[str]) -> bool:
    """Whether a subset's own label has the name of a class: its wnid, or the first of its English names."""
    if not isinstance(label, int) or not 0 <= label < len(names):
        return False
    return names[label] == wnid or names[label].split(",")[0].casefold() == class_names().get(wnid, "").casefold()


def library() -> Any:
    """Return pyarrow's reader; raise SourceError, which says how to install it, if it is missing."""
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise SourceError("parquet files need pyarrow; install it with: pip install 'feedline[parquet]'") from error
    return parquet
