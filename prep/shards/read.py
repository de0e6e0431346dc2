"""Reading a shard sample by sample, strictly: what a training run would fail at is an error with one clear sentence.

Members that stand side by side and share a key are one sample, as for webdataset: one image, one label, and whatever
else. This takes the shards of other writers too: pax headers, upper-case extensions, PNGs. A shard is read once, from
front to back, and its checksum is made on the way.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from ..archives.tar import Member, read_member, walk
from ..base.errors import DatasetError
from ..base.origins import held
from ..base.shell import shell_word
from ..roots.lists import MAX_LINE
from ..sources.parts import MAX_IMAGE
from .columns import member_columns
from .rules import IMAGES, LabelOf, SampleRule, class_number, is_image_extension, is_raw_extension, label_in
from .sidecars import File, split_key

CHUNK = 1024 * 1024  # bytes
MOST_MEMBERS = 10_000  # of one sample
OWN = SampleRule()
ABOUT = ("json", "txt")  # members with further values


@dataclass(frozen=True, slots=True)
class ShardSample:
    """One sample as it stands in a shard."""

    key: str
    label: int
    """Its class index; -1 without a class."""
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


class HashedFile:
    """A file that is read from front to back, while the checksum of all its bytes is made.

    ``read`` and ``seek`` are those of a file. A position before the bytes that were read is refused.
    """

    def __init__(self, file: BinaryIO, count: Callable[[int], None] | None = None) -> None:
        self._file = file
        self._count = count
        self._sha256 = hashlib.sha256()
        self._position = 0

    def seek(self, position: int) -> int:
        """Move forwards to a position."""
        if position < self._position:
            raise ValueError(f"cannot go back from {self._position} to {position}")
        while self._position < position and self.read(min(CHUNK, position - self._position)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        data = self._file.read(size)
        self._sha256.update(data)
        self._position += len(data)
        if self._count:
            self._count(len(data))
        return data

    def sha256(self) -> str:
        """Read the rest of the file and return the checksum of all of it."""
        while self.read(CHUNK):
            pass
        return self._sha256.hexdigest()


class Read(NamedTuple):
    """A shard that was read to its end."""

    bytes: int
    sha256: str
    modified: int
    """The time of its last change when the reading began, in nanoseconds since 1970."""


def read_shard(
    path: Path, rule: SampleRule = OWN, label_of: LabelOf = class_number, *, columns: bool = False
) -> Iterator[ShardSample]:
    """Yield the samples of a shard in order, and their ``columns`` if they are requested.

    Raises DatasetError for a missing shard, for a sample without exactly one image and one label, for a key
    that comes twice, and for a requested ``.json`` that is damaged; SourceError for a damaged tar.
    """
    with held(path), _opened(path) as file:
        yield from _Samples(cast(BinaryIO, HashedFile(file)), path, rule, label_of, columns).read()


def read_whole(
    path: Path,
    add: Callable[[ShardSample], None],
    rule: SampleRule = OWN,
    label_of: LabelOf = class_number,
    *,
    columns: bool = False,
    count: Callable[[int], None] | None = None,
) -> Read:
    """Pass each sample of a shard to ``add`` and return what the shard is; ``count`` receives the bytes read.

    Raises what ``read_shard`` raises, and DatasetError for a shard that is written meanwhile.
    """
    with held(path), _opened(path) as file:
        before, hashed = os.fstat(file.fileno()), HashedFile(file, count)
        for sample in _Samples(cast(BinaryIO, hashed), path, rule, label_of, columns).read():
            add(sample)
        sha256, after = hashed.sha256(), os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DatasetError(f"{path} changed while it was read; run again when nothing writes it")
    return Read(before.st_size, sha256, before.st_mtime_ns)


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():
        raise DatasetError(f"{path} is missing; copy it again, or write the shards again with: feedline shard")
    return path.open("rb", buffering=CHUNK)


def is_part(name: str) -> bool:
    """Return whether readers take a member for part of a sample: hidden files and ``__notes__`` they skip."""
    base = name.rpartition("/")[2]
    return "." in base and not base.startswith((".", "__"))


@dataclass(slots=True)
class _Held:
    """The members of the sample that is read."""

    key: str
    members: list[Member] = field(default_factory=list[Member])
    extensions: list[str] = field(default_factory=list[str])
    images: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """The data of the first image of each ``SampleRule.rank``, by member."""
    texts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """The data of its label, ``.json`` and ``.txt``, by extension."""


@dataclass(frozen=True, slots=True)
class _Samples:
    """The samples of one open shard."""

    file: BinaryIO
    path: Path
    rule: SampleRule
    label_of: LabelOf
    columns: bool

    def read(self) -> Iterator[ShardSample]:
        seen: set[str] = set()
        held: _Held | None = None
        for member in walk(self.file, 0, self.path.stat().st_size, str(self.path)):
            if member.is_directory or not is_part(member.name):
                continue
            key, extension = split_key(member.name)
            if held is None or key != held.key:
                if held is not None:
                    yield self._sample(held)
                if key in seen:
                    raise DatasetError(
                        f"{self.path} holds the sample {key!r} twice; readers would mix them: write it again"
                    )
                seen.add(key)
                held = _Held(key)
            self._take(held, member, extension.lower())
        if held is not None:
            yield self._sample(held)

    def _take(self, held: _Held, member: Member, extension: str) -> None:
        """Add a member to its sample, and read its data if they count: the file cannot go back."""
        held.members.append(member)
        held.extensions.append(extension)
        if len(held.members) > MOST_MEMBERS:
            raise DatasetError(f"{self.path}: the sample {held.key!r} has more than {MOST_MEMBERS} files")
        if self.rule.is_image(extension):
            ranks = [self.rule.rank(held.extensions[place]) for place in held.images]
            if self.rule.rank(extension) not in ranks and member.size <= MAX_IMAGE:
                held.images[len(held.members) - 1] = read_member(self.file, member, str(self.path))
        elif extension == self.rule.label_extension or (self.columns and extension in ABOUT):
            if extension in held.texts:
                raise DatasetError(
                    f"{self.path}: the sample {held.key!r} has two .{extension}; write the shards again with one"
                )
            if member.size > MAX_LINE:
                raise DatasetError(
                    f"{self.path}: {member.name!r} has {member.size} bytes, more than {MAX_LINE}; write it again"
                )
            held.texts[extension] = read_member(self.file, member, str(self.path))

    def _sample(self, held: _Held) -> ShardSample:
        path, rule = self.path, self.rule
        extensions, images = held.extensions, rule.images_among(held.extensions)
        if len(images) != 1:
            raise DatasetError(_no_image(held, path, extensions))
        image = held.members[images[0]]
        if not held.images.get(images[0]):
            raise DatasetError(f"{path}: {image.name!r} has {image.size} bytes, no image; write it again")
        if self.label_of is class_number and "cls" not in held.texts:
            raise DatasetError(
                f"{path}: the sample {held.key!r} has {listed(extensions)}, and needs one image ({', '.join(IMAGES)}) "
                f"and one .cls with its class index; write the shards again with both, or say where the class stands "
                f"with: feedline prep webdataset {shell_word(path.parent)} --out ROOT --label-from json:KEY"
            )
        where = f"{path}: {held.key + '.' + (rule.label_extension or extensions[0])!r}"
        label = label_in(rule, held.key, held.texts.get(rule.label_extension or ""), where)
        about = {extension: data for extension, data in held.texts.items() if extension in ABOUT}
        return ShardSample(
            key=held.key,
            label=self.label_of(label, where),
            image=held.images[images[0]],
            offset=image.offset,
            files=tuple(File(member.name, member.offset, member.size) for member in held.members),
            columns=member_columns(about, f"{path}: the sample {held.key!r}") if self.columns else None,
        )


def _no_image(held: _Held, path: Path, extensions: list[str]) -> str:
    """Return the message for a sample without an image, or with several."""
    has = f"{path}: the sample {held.key!r} has {listed(extensions)}"
    found = [extension for extension in extensions if is_image_extension(extension) or is_raw_extension(extension)]
    if found:
        return (
            f"{has}, and needs one image; say which it is with: "
            f"feedline prep webdataset {shell_word(path.parent)} --out ROOT "
            f"--image-extension {found[0]}"
        )
    return f"{has}, and needs one image ({', '.join(IMAGES)}); write the shards again without such samples"


def listed(extensions: list[str]) -> str:
    """Return extensions as a message has them: ".jpg, .txt"."""
    return ", ".join(f".{extension}" for extension in extensions[:12])
