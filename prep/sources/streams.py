"""Archives that are read from front to back: flat and tree-shaped tars, plain or compressed, and parquet files.

Their classes are mixed, or nothing marks where one begins, so the whole archive is one unit whose images go to
their class folders in the order of the archive. Several archives (Hugging Face cuts training into 5 tars or 294
parquet files) are read at the same time.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial as bind
from pathlib import Path

from ..archives.compressed import BUFFER, compression_of, open_tar
from ..archives.tar import Member, read_member, walk
from ..base.errors import SourceError
from .naming import CLASS_FOLDERS, HF, IMAGENET_V2, MIXABLE, SPLITS, Place, kind_of, place
from .parts import Keep, Part, SourceImage, Unit, check_size, keep_all
from .reader import Location, Reader
from .reading import ClassHolders, Reading

REPACKED = ", packed again"


def tar_part(path: Path, first: Place, name: str, signed: bool, reading: Reading) -> Part:
    """Return the part for a tar whose first image is called ``name`` and belongs at ``first``."""
    # The official archives have no folders but test/; a flat image in another folder may belong to a whole tree.
    is_flat = first.layout in MIXABLE - {CLASS_FOLDERS}
    is_plain = is_flat and name in (first.name, f"./{first.name}")
    one_split = is_plain or first.layout in (HF, IMAGENET_V2)
    compressed = compression_of(path) is not None
    splits = (first.split,) if one_split else SPLITS
    if reading.count or ((first.guessed or (is_flat and not is_plain)) and not compressed):
        splits = _Tar(path, first, one_split, reading).survey()
    layout = first.layout
    if is_flat and (len(splits) > 1 or name not in (first.name, f"test/{first.name}")):
        layout = CLASS_FOLDERS if len(splits) > 1 else f"{layout}{REPACKED}"
    return Part(
        source=path,
        splits=splits,
        layout=layout,
        size=path.stat().st_size,
        units=bind(_units, _Tar(path, first, one_split, reading)),
        signed=signed,
        guessed=first.guessed,
        streamed=compressed,
    )


class _Tar:
    """A tar of images in any order."""

    def __init__(self, path: Path, first: Place, one_split: bool, reading: Reading) -> None:
        self.path = path
        self._first, self._one_split, self._reading = first, one_split, reading
        self._default = reading.splits.of_source(path) or ""

    def survey(self) -> tuple[str, ...]:
        """Read all headers, count what is left out, and return the splits; raise SourceError if names do not say them.

        That takes 20 us for each member of a plain tar, so it is done only if something depends on it.
        """
        with open_tar(self.path) as (_, members):
            found = {path.partition("/")[0] for path, _, _ in self.wanted(members, keep_all)}
        return tuple(split for split in SPLITS if split in found)

    def wanted(self, members: Iterator[Member], keep: Keep) -> Iterator[tuple[str, Member, str]]:
        """Yield (path below the root, member, where it lies) of the images to take."""
        default, splits, source = self._default, self._reading.splits, str(self.path)
        holders, left_out = ClassHolders(source, self._reading.command), Counter[str]()
        for member in members:
            found = place(member.name + "/" * member.is_directory, source, default, splits)
            if found is None:
                if not member.is_directory:
                    left_out[kind_of(member.name)] += 1
                continue
            where = f"{member.name} at offset {member.offset} of {source}"
            check_alike(found, self._first, self._one_split, where)
            if holders.add(member.name, found):
                holders.check()
            if keep(found.split, found.wnid):
                check_size(member.size, where)
                yield f"{found.split}/{found.path}", member, where
        self._reading.left_out.note(self.path, "", left_out)


def _units(tar: _Tar, keep: Keep) -> list[Unit]:
    return [Unit("", bind(_images, tar, keep), shared=True)]


def _images(tar: _Tar, keep: Keep, reader: Reader) -> Iterator[SourceImage]:
    path = tar.path
    if compression_of(path):
        with open_tar(path) as (file, members):
            for place_, member, where in tar.wanted(members, keep):
                yield SourceImage(place_, member.size, read_member(file, member, str(path)), where)
    else:
        members = walk(reader.open(path, BUFFER), 0, path.stat().st_size, str(path))
        for place_, member, where in tar.wanted(members, keep):
            yield SourceImage(place_, member.size, Location(path, member.offset), where)


def check_alike(found: Place, first: Place, one_split: bool, where: str) -> None:
    """Raise SourceError for an image of another layout, or another split, than the archive's first one."""
    alike = found.layout == first.layout or (not one_split and {found.layout, first.layout} <= MIXABLE)
    if not alike or (one_split and found.split != first.split):
        raise SourceError(
            f"{where} is of {found.split} ({found.layout}), but the archive began with {first.split} ({first.layout}): "
            f"it is not the original"
        )
