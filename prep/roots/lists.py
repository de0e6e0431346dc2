"""The list of a split: one JSON object per line that names an image, its class, and further values of it.

    {"file_name": "2021/cat 1.webp", "label": "cat", "caption": "a cat on a roof"}

These are the names that Hugging Face's ``metadata.jsonl`` uses. A split has a list if its images do not lie in class
folders of their own: a source that is used in place, a random part of folders that are not split, or images with
further values (columns). Paths are relative to the root and have forward slashes. The lines are in the order of the
sample indexes, so line i belongs to sample i. A list is written before the manifest, and is part of the data set.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base.disks import naming
from ..base.documents import written_whole
from ..base.errors import DatasetError
from ..base.names import is_class_id, is_path_below

SUFFIX = ".jsonl"
FILE, LABEL = "file_name", "label"
MAX_LINE = 16 * 1024 * 1024  # bytes; a caption has 100, a run-length mask some 100,000


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One line of a list."""

    file_name: str
    """The image's path below the root, with forward slashes."""
    label: str
    """The id of its class."""
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Its further values, as JSON has them."""


def list_path(root: Path, split: str) -> Path:
    """Return where the list of a split lies."""
    return root / f"{split}{SUFFIX}"


def write_list(path: Path, images: Iterable[ListedImage]) -> None:
    """Write a list with a temporary name, fsync and rename.

    Raises OSError, and DatasetError for a column that is named ``file_name`` or ``label``.
    """
    with naming(path), written_whole(path) as file:
        for image in images:
            if FILE in image.columns or LABEL in image.columns:
                raise DatasetError(
                    f"{path} cannot hold columns named {FILE!r} or {LABEL!r}; rename that of {image.file_name}"
                )
            file.write(json_line({FILE: image.file_name, LABEL: image.label, **image.columns}))


def read_list(path: Path) -> Iterator[ListedImage]:
    """Yield the images of a list in order.

    Raises DatasetError for a missing list, and with the line's number for a line that is no image of the root.
    """
    return (image for _, image in located_images(path))


def located_images(path: Path) -> Iterator[tuple[int, ListedImage]]:
    """Yield what ``read_list`` yields, each with the offset of its line in bytes."""
    start = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), 1):
                yield start, parse_line(line, f"{path}, line {number}")
                start += len(line)
    except OSError as error:
        raise DatasetError(
            f"cannot read {path}, which lists the images: {error.strerror}; restore the file, or prepare the data again"
        ) from error


def parse_line(line: bytes, where: str) -> ListedImage:
    """Return the image of one line. Raises DatasetError, which begins with ``where``, for another line."""
    try:
        if len(line) > MAX_LINE:
            raise ValueError(f"longer than {MAX_LINE} bytes")
        found = json.loads(line)
        name, label = found.pop(FILE), found.pop(LABEL)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{where} is not {{{FILE!r}: ..., {LABEL!r}: ...}} ({error}); restore the file, or prepare the data again"
        ) from error
    if not is_path_below(name):
        raise DatasetError(f"{where} names {str(name)[:80]!r}, which is no path below the root; restore the file")
    if not is_class_id(label):
        raise DatasetError(f"{where} has the label {str(label)[:80]!r}, which is no class id; restore the file")
    return ListedImage(name, label, found)


def json_line(row: Mapping[str, Any]) -> bytes:
    """Return a JSON object as one line."""
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8 has surrogates, which only an escape can spell
        return (json.dumps(row) + "\n").encode("ascii")
