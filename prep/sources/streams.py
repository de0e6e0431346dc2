"""Archives that are read from front to back: flat and tree-shaped tars, plain or gzipped, and parquet files.

Their classes are mixed, or nothing marks where one begins, so the whole archive is one unit whose images go to
their class folders in the order of the archive. Several archives (Hugging Face cuts training into 5 tars or 294
parquet files) are read at the same time. The first bytes show whether a tar is gzipped: ImageNet-V2's .tar.gz are
plain.
"""

import gzip
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial as bind
from pathlib import Path
from typing import BinaryIO, cast

from ..archives.tar import UNKNOWN, Member, read_member, walk
from ..base.errors import SourceError
from .naming import CLASS_FOLDERS, HF, IMAGENET_V2, MIXABLE, Place, place
from .parts import Keep, Part, SourceImage, Unit, check_size
from .reader import Location, Reader

GZIP = b"\x1f\x8b"
SPLITS = ("train", "val", "test")
# Bytes. Each read of a file releases the GIL, and taking it back from writers of small files is the cost: with the
# usual 8 KiB a flat archive of 2 KB images takes some 10 % longer (median of five, within their spread).
BUFFER = 256 * 1024


def tar_part(path: Path, first: Place, name: str, signed: bool) -> Part:
    """Return the part for a tar whose first image is called ``name`` and belongs at ``first``."""
    # The official archives have no folders but test/; a flat image in another folder belongs to a whole tree.
    is_flat = first.layout in MIXABLE - {CLASS_FOLDERS} and name in (first.name, f"test/{first.name}")
    one_split = is_flat or first.layout in (HF, IMAGENET_V2)
    return Part(
        source=path,
        splits=(first.split,) if one_split else SPLITS,
        layout=CLASS_FOLDERS if first.layout in MIXABLE and not is_flat else first.layout,
        size=path.stat().st_size,
        units=bind(_units, path, first, one_split),
        signed=signed,
        streamed=_is_gzip(path),
    )


@contextmanager
def open_tar(path: Path) -> Generator[tuple[BinaryIO, Iterator[Member]]]:
    """Open a tar, gzipped or not, and yield (file, its members). Raises SourceError if gzip finds damage."""
    with path.open("rb", BUFFER) as raw:
        try:
            if _is_gzip(path):
                with gzip.GzipFile(fileobj=raw) as stream:
                    file = cast(BinaryIO, stream)
                    yield file, walk(file, 0, UNKNOWN, str(path))
            else:
                yield raw, walk(raw, 0, path.stat().st_size, str(path))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            offset = raw.tell()
            raise SourceError(f"{path} is damaged at offset {offset} ({error}); copy or download it again") from error


def default_split(path: Path) -> str:
    """Return the split that the class folders of an archive named "val..." belong to if their paths do not say."""
    return "val" if path.name.lower().startswith("val") else "train"


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == GZIP


def _units(path: Path, first: Place, one_split: bool, keep: Keep) -> list[Unit]:
    return [Unit("", bind(_images, path, first, one_split, keep), shared=True)]


def _images(path: Path, first: Place, one_split: bool, keep: Keep, reader: Reader) -> Iterator[SourceImage]:
    split, source, streamed = default_split(path), str(path), _is_gzip(path)
    with open_tar(path) if streamed else nullcontext(_members(path, reader)) as (file, members):
        for member in members:
            found = place(member.name + "/" * member.is_directory, source, split)
            if found is None:
                continue
            where = f"{member.name} at offset {member.offset} of {source}"
            check_alike(found, first, one_split, where)
            if keep(found.split, found.wnid):
                check_size(member.size, where)
                data = read_member(file, member, source) if streamed else Location(path, member.offset)
                yield SourceImage(f"{found.split}/{found.path}", member.size, data, where)


def _members(path: Path, reader: Reader) -> tuple[BinaryIO, Iterator[Member]]:
    file = reader.open(path, BUFFER)
    return file, walk(file, 0, path.stat().st_size, str(path))


def check_alike(found: Place, first: Place, one_split: bool, where: str) -> None:
    """Raise SourceError for an image of another layout, or another split, than the archive's first one."""
    alike = found.layout == first.layout or (not one_split and {found.layout, first.layout} <= MIXABLE)
    if not alike or (one_split and found.split != first.split):
        raise SourceError(
            f"{where} is of {found.split} ({found.layout}), but the archive began with {first.split} ({first.layout}): "
            f"it is not the original"
        )
