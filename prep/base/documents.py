"""The JSON documents on disk (manifests, records, run configurations): typed, bounded, never half-written.

A document is a frozen dataclass. Reading checks every field against its annotation with pydantic, so that a
foreign or damaged file becomes one clear sentence instead of a KeyError later. Writing goes to a temporary
name, is flushed to the disk and then renamed, so that a document that exists is whole.
"""

import json
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from .errors import DatasetError
from .scanners import put_in_place

T = TypeVar("T")

# The largest we write is ImageNet's shard manifest: about 600 shards and 1000 classes, 200 kB.
MAX_BYTES = 64 * 1024 * 1024


def read_document(path: Path, kind: type[T]) -> T:
    """Return the document at ``path`` as a ``kind``.

    Raises DatasetError when the file is missing, larger than 64 MiB, or not such a document.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise DatasetError(f"{path} is larger than {MAX_BYTES} bytes: no feedline document is")
    try:
        return TypeAdapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise DatasetError(f"{path} is not a {kind.__name__} document: {first['msg']} at {where}") from error


def to_json(value: object) -> Any:
    """Return a dataclass instance as plain JSON values (dicts, lists, strings, numbers)."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def write_document(path: Path, value: object) -> None:
    """Write a dataclass instance to ``path`` as JSON: temporary name, fsync, rename."""
    text = json.dumps(to_json(value), indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Make ``path`` hold ``data``, or leave it as it was: temporary name, fsync, rename."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
