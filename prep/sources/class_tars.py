"""Class tars: inside the official training archive, or in a folder where a script has left them.

The training archive is a tar of one tar per class. The outer tar, the inner tars and the images are read in place,
without a copy in between: every byte is read once and every image is written once. A class is a unit, so threads
read different parts of the archive at the same time.
"""

from collections.abc import Iterator, Sequence
from functools import partial as bind
from pathlib import Path

from ..archives.tar import Member, walk
from ..base.errors import SourceError
from ..labels.imagenet import wnids
from .naming import CLASS_TAR, TRAIN_IMAGE
from .parts import Keep, Part, SourceImage, Unit, check_size
from .reader import Location, Reader

TRAIN_ARCHIVE, CLASS_TARS = "the official training archive", "class tars"


def train_archive(path: Path, signed: bool) -> Part:
    """Return the part for a tar of class tars."""
    return Part(
        source=path,
        splits=("train",),
        layout=TRAIN_ARCHIVE,
        size=path.stat().st_size,
        units=bind(_archive_units, path),
        signed=signed,
    )


def class_tars(folder: Path, tars: Sequence[Path]) -> Part:
    """Return the part for a folder's class tars."""
    return Part(
        source=folder,
        splits=("train",),
        layout=CLASS_TARS,
        size=sum(tar.stat().st_size for tar in tars),
        units=bind(_folder_units, tars),
    )


def _archive_units(path: Path, keep: Keep) -> list[Unit]:
    units: dict[str, Unit] = {}
    with path.open("rb") as file:
        for member in walk(file, 0, path.stat().st_size, str(path)):
            if member.is_directory:
                continue
            wnid = _class_of(member.name, f"{path} at offset {member.offset}")
            if wnid in units:
                raise SourceError(f"{path} holds {member.name!r} twice, again at offset {member.offset}")
            units[wnid] = _unit(path, wnid, member, f"{wnid}.tar in {path}")
    return [unit for wnid, unit in units.items() if keep("train", wnid)]


def _folder_units(tars: Sequence[Path], keep: Keep) -> list[Unit]:
    found = {_class_of(tar.name, str(tar.parent)): tar for tar in tars}
    return [
        _unit(tar, wnid, Member(tar.name, 0, tar.stat().st_size), str(tar))
        for wnid, tar in found.items()
        if keep("train", wnid)
    ]


def _class_of(name: str, where: str) -> str:
    match = CLASS_TAR.fullmatch(name)
    if not match or match[1] not in set(wnids()):
        raise SourceError(f"{where} holds {name!r}, which is the tar of no ImageNet class")
    return match[1]


def _unit(path: Path, wnid: str, tar: Member, where: str) -> Unit:
    return Unit(f"train/{wnid}", bind(_images, path, wnid, tar, where))


def _images(path: Path, wnid: str, tar: Member, where: str, reader: Reader) -> Iterator[SourceImage]:
    for member in walk(reader.open(path), tar.offset, tar.size, where):
        if member.is_directory:
            continue
        match = TRAIN_IMAGE.fullmatch(member.name)
        if not match or match[1] != wnid:
            raise SourceError(f"{where} holds {member.name!r} at offset {member.offset}, which is not its class's")
        place = f"{member.name} at offset {member.offset} of {where}"
        check_size(member.size, place)
        yield SourceImage(member.name, member.size, Location(path, member.offset), place)
