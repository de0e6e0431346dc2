"""Reading and writing of JSON documents: manifests, records and run configurations.

A document is a frozen dataclass. Reading checks every field against its annotation with pydantic, so that a
foreign or damaged file raises one DatasetError that names the field instead of a KeyError later. Writing uses a
temporary name, flushes the file to the disk and renames it, so that a document that exists is whole.
"""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import TypeAdapter, ValidationError

from .disks import naming
from .errors import DatasetError
from .retries import put_in_place

T = TypeVar("T")

# The largest document is ImageNet's shard manifest: about 600 shards and 1000 classes, 200 kB.
MAX_BYTES = 64 * 1024 * 1024


def read_document(path: Path, kind: type[T]) -> T:
    """Return the document at ``path`` as a ``kind``.

    Raises DatasetError if the file is missing, has more than 64 MiB, or is not such a document.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error
    if len(data) > MAX_BYTES:
        raise DatasetError(f"{path} has more than {MAX_BYTES} bytes, so it is not a feedline document; check the path")
    try:
        return from_json(data, kind)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise DatasetError(
            f"{path} is not a {kind.__name__} document: {first['msg']} at {field}; check the path or restore the file"
        ) from error


def from_json(data: bytes, kind: type[T]) -> T:
    """Return the ``kind`` that ``data`` holds as JSON. Raises pydantic's ValidationError."""
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_json(data)
    except ValidationError:
        if b"\\ud" not in data:
            raise
    try:  # a path whose bytes are not UTF-8, as ``json_bytes`` writes it: pydantic's own parser rejects it
        value = json.loads(data)
    except (ValueError, RecursionError):
        return adapter.validate_json(data)  # raises the error of the first try
    return adapter.validate_python(value)


def json_bytes(value: object, indent: int | None = None) -> bytes:
    """Return a dataclass instance as JSON in UTF-8.

    A path that is not UTF-8 on disk has half a surrogate pair for each such byte, which UTF-8 does not have either. It
    is written as JSON's escape, such as "\\udcff"; Python's form for such characters is the same.
    """
    return json.dumps(to_json(value), indent=indent, ensure_ascii=False).encode("utf-8", "backslashreplace")


def to_json(value: object) -> Any:
    """Return a dataclass instance as plain JSON values (dicts, lists, strings, numbers)."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def write_document(path: Path, value: object) -> None:
    """Write a dataclass instance to ``path`` as JSON with ``write_atomically``. Raises OSError as that does."""
    write_atomically(path, json_bytes(value, indent=1) + b"\n")


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` with a temporary name, fsync and rename.

    If writing fails, it leaves ``path`` as it was, removes the temporary file and raises OSError.
    """
    with naming(path), written_whole(path) as file:
        file.write(data)


@contextmanager
def written_whole(path: Path) -> Generator[BinaryIO, None, None]:
    """Open a file that gets the name ``path`` when it is whole: temporary name, fsync, rename.

    If anything fails, it leaves ``path`` as it was and removes the temporary file. Raises OSError.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        put_in_place(partial, path)
    except BaseException:
        with suppress(OSError):  # such as that of a disk that has become read-only
            partial.unlink()
        raise
