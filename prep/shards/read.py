"""Reading a shard sample by sample, strictly: what a training run would fail at is an error with one clear sentence.

Members that stand side by side and share a key are one sample, as for webdataset: one image, one ``.cls`` with the
class index, and whatever else. This takes the shards of other writers too: pax headers, upper-case extensions, PNGs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from ..archives.tar import Member, read_member, walk
from ..base.errors import DatasetError
from ..roots.lists import MAX_LINE
from ..sources.parts import MAX_IMAGE
from .columns import member_columns
from .sidecars import File, split_key

ABOUT = ("json", "txt")  # members with further values
IMAGES = ("jpg", "jpeg", "png", "webp")
MAX_CLASSES = 1_000_000  # ImageNet-21k has 21,841; a bound, because the manifest names every class below the largest


@dataclass(frozen=True, slots=True)
class ShardSample:
    """One sample as it stands in a shard."""

    key: str
    label: int
    image: bytes
    offset: int
    """Of the image's data, in bytes from the start of the shard."""
    files: tuple[File, ...]
    """All its members, in shard order."""
    columns: Mapping[str, Any] | None = None
    """The further values in its ``.json`` and ``.txt``, if they were read."""

    @property
    def image_file(self) -> File:
        return next(file for file in self.files if file.offset == self.offset)


def read_shard(path: Path, *, columns: bool = False) -> Iterator[ShardSample]:
    """Yield the samples of a shard in order, and their ``columns`` if they are requested.

    Raises DatasetError for a missing shard, for a sample without exactly one image and one ``.cls``, for a key
    that comes twice, and for a requested ``.json`` that is damaged; SourceError for a damaged tar.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing; copy it again, or write the shards again with: feedline shard")
    with path.open("rb") as file:
        members = (m for m in walk(file, 0, path.stat().st_size, str(path)) if not m.is_directory and _counts(m.name))
        seen: set[str] = set()
        for key, held in groupby(members, lambda member: split_key(member.name)[0]):
            if key in seen:
                raise DatasetError(f"{path} holds the sample {key!r} twice; readers would mix them: write it again")
            seen.add(key)
            sample = _sample(file, path, key, list(held))
            yield replace(sample, columns=_columns(file, path, sample)) if columns else sample


def _counts(name: str) -> bool:
    """Return whether readers take a member for part of a sample: hidden files and ``__notes__`` they skip."""
    base = name.rpartition("/")[2]
    return "." in base and not base.startswith((".", "__"))


def _sample(file: BinaryIO, path: Path, key: str, members: list[Member]) -> ShardSample:
    extensions = [split_key(member.name)[1].lower() for member in members]
    images = [member for member, extension in zip(members, extensions, strict=True) if extension in IMAGES]
    labels = [member for member, extension in zip(members, extensions, strict=True) if extension == "cls"]
    if len(images) != 1 or len(labels) != 1:
        raise DatasetError(
            f"{path}: the sample {key!r} has {', '.join('.' + extension for extension in extensions)}, and needs one "
            f"image ({', '.join(IMAGES)}) and one .cls with its class index; write the shards again with both"
        )
    if not 0 < images[0].size <= MAX_IMAGE:
        raise DatasetError(f"{path}: {images[0].name!r} has {images[0].size} bytes, no image; write it again")
    return ShardSample(
        key=key,
        label=_label(file, path, labels[0]),
        image=read_member(file, images[0], str(path)),
        offset=images[0].offset,
        files=tuple(File(member.name, member.offset, member.size) for member in members),
    )


def _columns(file: BinaryIO, path: Path, sample: ShardSample) -> dict[str, Any]:
    held: dict[str, bytes] = {}
    for member in sample.files:
        extension = split_key(member.name)[1].lower()
        if extension in ABOUT:
            file.seek(member.offset)
            held[extension] = file.read(min(member.size, MAX_LINE + 1))
    return member_columns(held, f"{path}: the sample {sample.key!r}")


def _label(file: BinaryIO, path: Path, member: Member) -> int:
    text = read_member(file, member, str(path)).strip() if member.size <= 32 else b""
    if not text.isdigit() or int(text) >= MAX_CLASSES:
        raise DatasetError(
            f"{path}: {member.name!r} is {text[:20]!r}, not a class index below {MAX_CLASSES}; write the shards again"
        )
    return int(text)
