"""One shard: a plain tar of plain JPEGs or arrays that every reader understands, and its indexes, in one pass.

A sample is ``<stem>.jpg`` (or the extension of its format, or ``npy``), ``<stem>.cls`` (its class index in ASCII) and
``<stem>.json`` (class id, width, height and name, and the sample's columns; see ``columns``), side by side. Lower-case
extensions, because some readers compare them case by case; the original stem as key, so that an image can be traced
back. The tars are USTAR with mtime 0 and no owner: Python's default (pax) adds 1 kB per member and a time stamp,
breaks readers that compute offsets, and makes two runs differ.
"""

import hashlib
import os
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ...base.disks import reason_of
from ...base.documents import read_document, write_document
from ...base.errors import OutputError
from ...base.flush import flush_folder
from ...base.manifest import ClassEntry, Shard
from ...base.retries import put_in_place
from ...images.kinds import member_extension
from ...processes.threads import raise_if_stopped
from ...roots.samples import Sample, SampleReader
from ...store.afar import far_folder_of
from ..columns import columns_path, json_member
from ..encode import Encoded, encode_image
from ..index import index_path
from ..order import WINDOW
from ..sidecars import File, Sidecars, dali_path, write_all
from .plan import ShardSpec


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """What one shard is to hold."""

    name: str
    samples: Sequence[Sample]
    classes: tuple[ClassEntry, ...]
    spec: ShardSpec
    columns: tuple[str, ...] = ()
    """The names of the columns that each sample gets."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A finished shard. Noted among the unfinished files, so that a run that is continued need not make it again."""

    shard: Shard
    passed_through: dict[str, int]
    indexes: dict[str, str] = field(default_factory=dict[str, str])
    """{file name: sha256} of the indexes of the shard."""
    made_sequential: int = 0
    """Progressive JPEGs that became sequential ones."""
    orientation_applied: dict[str, int] = field(default_factory=dict[str, int])
    """{"lossless" or "reencoded": images that were turned as their EXIF says}."""


def write_shard(
    out: Path, partial: Path, task: ShardTask, count: Callable[[int], None], stop: threading.Event
) -> Written:
    """Write one shard and its indexes to ``out``, unless a run before has done so."""
    note = partial / f"{task.name}.json"
    path = out / task.name
    if note.is_file():
        written = read_document(note, Written)
        if _is_whole(path, written, task):
            count(len(task.samples))
            return written
    try:
        written = _write(path, partial / task.name, task, count, stop)
        write_document(note, written)
    except OSError as error:  # of writing: a source that cannot be read is a DatasetError
        if error.errno is None:  # of a library that could not be loaded
            raise
        raise OutputError(
            f"cannot write {path}: {reason_of(error, path)}; "
            "make room and run the same command again, finished shards are kept"
        ) from error
    return written


def tar_size(sizes: Sequence[int], metadata: bool) -> int:
    """Return the bytes of a tar of images of these sizes: headers, and data in blocks of 512 bytes."""
    files = 2 if metadata else 1  # in addition to the image; each has a header and one block
    return sum(1 + 2 * files + -(-size // tarfile.BLOCKSIZE) for size in sizes) * tarfile.BLOCKSIZE + tarfile.RECORDSIZE


def _is_whole(path: Path, written: Written, task: ShardTask) -> bool:
    """Whether the shard and its indexes hold the bytes that were written; a power cut may leave zeros in them."""
    expected = {path.name: written.shard.sha256, **written.indexes}
    places = (path, index_path(path), dali_path(path), *([columns_path(path)] if task.columns else []))
    return all(place.is_file() and _sha256(place) == expected.get(place.name) for place in places)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(
    path: Path, temporary: Path, task: ShardTask, count: Callable[[int], None], stop: threading.Event
) -> Written:
    sidecars, passed, turned, made_sequential = Sidecars(columns=bool(task.columns)), Counter[str](), Counter[str](), 0
    with temporary.open("wb") as file:
        tar = _Tar(file)
        for sample, data, columns in _read(task):
            raise_if_stopped(stop)
            image = encode_image(data, task.spec)
            files = [tar.add(name, content) for name, content in _members(sample, image, columns, task)]
            size, tiles, first_pixel = image.size, image.geometry, image.first_pixel
            sidecars.add(sample.key, sample.label, files[0], files, size, tiles, columns, first_pixel=first_pixel)
            passed.update([image.passed_through] if image.passed_through else [])
            turned.update([image.turned] if image.turned else [])
            made_sequential += image.made_sequential
            count(1)
        sha256 = tar.close()
    put_in_place(temporary, path)
    contents = sidecars.contents(path)
    write_all(contents)
    flush_folder(path.parent)  # the note that follows must not come before the renames
    shard = Shard(name=task.name, samples=len(task.samples), bytes=tar.size, sha256=sha256)
    return Written(
        shard=shard,
        passed_through=dict(sorted(passed.items())),
        indexes={place.name: hashlib.sha256(data).hexdigest() for place, data in contents.items()},
        made_sequential=made_sequential,
        orientation_applied=dict(sorted(turned.items())),
    )


def _read(task: ShardTask) -> Iterator[tuple[Sample, bytes, dict[str, Any] | None]]:
    """Yield the samples with their bytes and columns.

    Of a two-level shuffle, the images of a window are read at once, as they lie on the disk. Of a source behind a URL,
    several are requested at a time.
    """
    if task.samples and far_folder_of(task.samples[0].location.place) is not None:
        yield from _read_afar(task)
        return
    ahead = WINDOW if task.spec.order == "two-level" else 1
    with SampleReader() as reader:
        for start in range(0, len(task.samples), ahead):
            window = task.samples[start : start + ahead]
            found = {sample.key: reader.read(sample) for sample in sorted(window, key=_position)}
            for sample in window:
                columns = reader.columns(sample, task.columns) if task.columns else None
                yield sample, found.pop(sample.key), columns


def _read_afar(task: ShardTask) -> Iterator[tuple[Sample, bytes, dict[str, Any] | None]]:
    with SampleReader() as reader, closing(reader.read_ahead(task.samples)) as found:
        for sample, data in zip(task.samples, found, strict=True):
            yield sample, data, reader.columns(sample, task.columns) if task.columns else None


def _position(sample: Sample) -> tuple[str, int, str]:
    place, within, _ = sample.location
    return str(place), within if isinstance(within, int) else 0, sample.name


def _members(
    sample: Sample, image: Encoded, columns: dict[str, Any] | None, task: ShardTask
) -> Iterator[tuple[str, bytes]]:
    yield f"{sample.key}.{member_extension(image.data, sample.name)}", image.data
    yield sample.key + ".cls", str(sample.label).encode("ascii")
    width, height = image.size
    # The same keys and types for every sample: readers infer a table's columns from the first ones.
    about = {"class": task.classes[sample.label].id, "width": width, "height": height, "name": sample.name}
    if task.spec.metadata or columns:
        yield sample.key + ".json", json_member(columns or {}, about if task.spec.metadata else {})


class _Tar:
    """A tar written from front to back, its checksum made on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.size = 0

    def add(self, name: str, data: bytes) -> File:
        """Append a file."""
        info = tarfile.TarInfo(name)  # mtime 0, uid and gid 0, no names, mode 0o644
        info.size = len(data)
        self._write(info.tobuf(tarfile.USTAR_FORMAT))
        file = File(name, self.size, len(data))
        self._write(data)
        self._pad(tarfile.BLOCKSIZE)
        return file

    def close(self) -> str:
        """Write the end blocks, pad to tar's records of 10,240 bytes, flush to the disk, and return the sha256."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._pad(tarfile.RECORDSIZE)
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._sha256.hexdigest()

    def _pad(self, multiple: int) -> None:
        self._write(bytes(-self.size % multiple))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self.size += len(data)
