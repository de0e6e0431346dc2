"""Class tars: inside the official training archive, or in a folder where a script has left them.

The training archive is a tar of one tar per class. The outer tar, the inner tars and the images are read in place,
without a copy in between: every byte is read once and every image is written once. A class is a unit, so threads
read different parts of the archive at the same time.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial as bind
from pathlib import Path

from ..archives.compressed import compression_of, open_tar
from ..archives.tar import UNKNOWN, Member, read_member, walk
from ..base.errors import SourceError
from ..base.shell import shell_word
from ..labels.imagenet import validation_labels, wnids
from .naming import CLASS_TAR, SUFFIXES, TRAIN_IMAGE, VAL_IMAGE, is_stranger, kind_of, safe_path
from .parts import Keep, Part, SourceImage, Unit, check_size, keep_all
from .reader import Location, Reader
from .reading import Reading

TRAIN_ARCHIVE, CLASS_TARS = "the official training archive", "class tars"
REPACKED_TRAIN = "a tar of class tars, packed again"
PACKED_TRAIN = "a compressed tar of class tars"
TAR_SUFFIXES = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")


def train_archive(path: Path, name: str, signed: bool, reading: Reading) -> Part:
    """Return the part for a tar of class tars, the first of which is called ``name``.

    A compressed one is read from front to back.
    """
    packed = compression_of(path) is not None
    units = bind(_packed_units if packed else _archive_units, path, reading)
    if reading.count:
        with Reader(buffered=True) as reader:
            for unit in units(keep_all):
                for _ in unit.images(reader):
                    pass
    return Part(
        source=path,
        splits=(reading.splits.of_source(path) or "train",),
        layout=PACKED_TRAIN if packed else TRAIN_ARCHIVE if CLASS_TAR.fullmatch(name) else REPACKED_TRAIN,
        size=path.stat().st_size,
        units=units,
        signed=signed,
        streamed=packed,
    )


def class_tars(folder: Path, tars: Sequence[Path], split: str, reading: Reading) -> list[Part]:
    """Return the parts for a folder's class tars: one for the plain ones, and one for each that is compressed."""
    if split == "test":
        raise SourceError(
            f"{folder} holds class tars of test, which has no labels in ImageNet; take them as val with: "
            f"--split-from {shell_word(f'{folder.name}=val')}"
        )
    plain = [tar for tar in tars if compression_of(tar) is None]
    parts = [_part(folder, split, plain, bind(_folder_units, plain, split, reading))] if plain else []
    for tar in tars:
        if compression_of(tar):
            parts.append(_part(tar, split, [tar], bind(_packed_tar_units, tar, split, reading), streamed=True))
    return parts


def class_of_tar(path: Path) -> str:
    """Return the wnid that a class tar's name says; raise SourceError for one of no ImageNet class."""
    return _class_of(path.name, str(path.parent))


def names_in_class_tar(path: Path) -> set[str]:
    """Return the names of the images in a class tar."""
    with open_tar(path) as (_, members):
        return {member.name.rpartition("/")[2] for member in members if not member.is_directory}


def _part(
    source: Path, split: str, tars: Sequence[Path], units: Callable[[Keep], list[Unit]], streamed: bool = False
) -> Part:
    size = sum(tar.stat().st_size for tar in tars)
    return Part(source=source, splits=(split,), layout=CLASS_TARS, size=size, units=units, streamed=streamed)


def _archive_units(path: Path, reading: Reading, keep: Keep) -> list[Unit]:
    split = reading.splits.of_source(path) or "train"
    units: dict[str, Unit] = {}
    left_out = Counter[str]()
    with path.open("rb") as file:
        for wnid, member in _class_tars_in(walk(file, 0, path.stat().st_size, str(path)), path, left_out):
            if wnid in units:
                raise SourceError(f"{path} holds {member.name!r} twice, again at offset {member.offset}")
            units[wnid] = _unit(path, split, wnid, member, f"{wnid}.tar in {path}", reading)
    reading.left_out.note(path, "", left_out)
    return [unit for wnid, unit in units.items() if keep(split, wnid)]


def _class_tars_in(members: Iterator[Member], path: Path, left_out: "Counter[str]") -> Iterator[tuple[str, Member]]:
    """Yield (wnid, class tar) of a tar; the folders that re-packers put before the names do not matter."""
    for member in members:
        where = f"{path} at offset {member.offset}"
        is_ours = not is_stranger(member.name, (*TAR_SUFFIXES, *SUFFIXES))
        name = safe_path(member.name, where) if is_ours and not member.is_directory else member.name
        name = "" if member.is_directory else name.rpartition("/")[2]
        if not name.startswith("._") and CLASS_TAR.fullmatch(name):
            if not name.endswith(".tar"):
                raise SourceError(
                    f"{where} holds {member.name!r}, a compressed tar inside a tar; unpack {path} with: "
                    f"tar xf {shell_word(path)}, and give the folder"
                )
            yield _class_of(name, where), member
        elif name.lower().endswith((".tar", *SUFFIXES)) and not name.startswith("._"):
            raise SourceError(f"{where} holds {member.name!r}, which is the tar of no ImageNet class")
        elif name:
            left_out[kind_of(name)] += 1


def _packed_units(path: Path, reading: Reading, keep: Keep) -> list[Unit]:
    return [Unit("", bind(_packed_images, path, reading, keep), shared=True)]


def _packed_images(path: Path, reading: Reading, keep: Keep, reader: Reader) -> Iterator[SourceImage]:
    """Yield the images of a compressed tar of class tars, in its order."""
    split = reading.splits.of_source(path) or "train"
    left_out = Counter[str]()
    with open_tar(path) as (file, members):
        for wnid, tar in _class_tars_in(members, path, left_out):
            where = f"{wnid}.tar in {path}"
            for name, member, place in _members(walk(file, tar.offset, tar.size, where), split, wnid, where, left_out):
                if keep(split, wnid):
                    yield SourceImage(f"{split}/{wnid}/{name}", member.size, read_member(file, member, where), place)
    reading.left_out.note(path, "", left_out)


def _folder_units(tars: Sequence[Path], split: str, reading: Reading, keep: Keep) -> list[Unit]:
    found = {class_of_tar(tar): tar for tar in tars}
    return [
        _unit(tar, split, wnid, Member(tar.name, 0, tar.stat().st_size), str(tar), reading)
        for wnid, tar in found.items()
        if keep(split, wnid)
    ]


def _packed_tar_units(tar: Path, split: str, reading: Reading, keep: Keep) -> list[Unit]:
    wnid = class_of_tar(tar)
    unit = _unit(tar, split, wnid, Member(tar.name, 0, UNKNOWN), str(tar), reading)
    return [unit] if keep(split, wnid) else []


def _class_of(name: str, where: str) -> str:
    match = CLASS_TAR.fullmatch(name)
    if not match or match[1] not in set(wnids()):
        raise SourceError(f"{where} holds {name!r}, which is the tar of no ImageNet class")
    return match[1]


def _unit(path: Path, split: str, wnid: str, tar: Member, where: str, reading: Reading) -> Unit:
    return Unit(f"{split}/{wnid}", bind(_images, path, split, wnid, tar, where, reading))


def _images(
    path: Path, split: str, wnid: str, tar: Member, where: str, reading: Reading, reader: Reader
) -> Iterator[SourceImage]:
    left_out = Counter[str]()
    if tar.size == UNKNOWN:
        with open_tar(path) as (file, members):
            for name, member, place in _members(members, split, wnid, where, left_out):
                yield SourceImage(name, member.size, read_member(file, member, where), place)
    else:
        members = walk(reader.open(path), tar.offset, tar.size, where)
        for name, member, place in _members(members, split, wnid, where, left_out):
            yield SourceImage(name, member.size, Location(path, member.offset), place)
    reading.left_out.note(path, wnid, left_out)


def _members(
    members: Iterator[Member], split: str, wnid: str, where: str, left_out: "Counter[str]"
) -> Iterator[tuple[str, Member, str]]:
    """Yield (name, member, place for messages) of the images of a class tar."""
    for member in members:
        if member.is_directory:
            continue
        name = member.name
        match = TRAIN_IMAGE.fullmatch(name)
        if not match:  # a folder before the name, another file, or an image of val
            name = (name if is_stranger(name) else safe_path(name, where)).rpartition("/")[2]
            if name.startswith(".") or not name.lower().endswith(SUFFIXES):
                left_out[kind_of(member.name)] += 1
                continue
            match = TRAIN_IMAGE.fullmatch(name)
        if not (match and match[1] == wnid) and not (split == "val" and _is_val_of(name, wnid)):
            raise SourceError(f"{where} holds {member.name!r} at offset {member.offset}, which is not its class's")
        place = f"{member.name} at offset {member.offset} of {where}"
        check_size(member.size, place)
        yield name, member, place


def _is_val_of(name: str, wnid: str) -> bool:
    match = VAL_IMAGE.fullmatch(name)
    return bool(match) and validation_labels().get(f"{match[1]}.JPEG") == wnid
