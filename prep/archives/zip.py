"""A strict reader of zip files: it yields every file from the central directory and reads one when asked.

Python's zipfile keeps half a kilobyte for each of 1.5 million members (Kaggle's ImageNet has that many), which is
more memory than everything else together; this reader keeps none. It follows PKWARE's APPNOTE 6.3 with the zip64
fields, takes stored and deflated regular files, and refuses links, encryption, other methods and whatever lies
outside the file. Sizes are bounded before anything is unpacked, and the CRC is checked.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..base.errors import SourceError

END, END64, LOCATOR, CENTRAL, LOCAL = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2", b"PK\3\4"
STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 0x1, 0x800
LINK, TYPE = 0o120000, 0o170000
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file or folder (its name ends with a slash)."""

    name: str
    size: int
    """Unpacked bytes."""
    position: int
    """Where its entry in the central directory begins: ``read_zip_member`` finds the rest there."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    local: int
    length: int
    """Bytes of the entry in the central directory."""


def walk_zip(file: BinaryIO, size: int, where: str) -> Iterator[ZipMember]:
    """Yield the members of a zip of ``size`` bytes, in the central directory's order.

    Raises SourceError with the offset of the damage, or of a member that is a link, encrypted or packed by
    another method. The file position may be moved between two members.
    """
    position, end, count = _directory(file, size, where)
    while count:
        entry = _entry(file, position, where)
        yield ZipMember(entry.name, entry.size, position)
        position, count = position + entry.length, count - 1
    if position != end:
        raise SourceError(f"{where} is damaged: its directory ends at offset {position}, not {end}; download it again")


def read_zip_member(file: BinaryIO, position: int, where: str) -> bytes:
    """Return the unpacked data of the member whose directory entry is at ``position``.

    Not one byte more than the directory claims is unpacked. Raises SourceError when the local header, the size
    or the CRC differ from the directory.
    """
    entry = _entry(file, position, where)
    header = _read(file, entry.local, 30, where)
    signature, _, _, method, name_length, extra = struct.unpack("<4sHHH16xHH", header)
    name = _read(file, entry.local + 30, name_length, where)
    if signature != LOCAL or method != entry.method or _decode(name, entry.flags) != entry.name:
        raise SourceError(f"{where}: {entry.name!r} is not at offset {entry.local}; copy or download it again")
    data = _read(file, entry.local + 30 + name_length + extra, entry.packed, where)
    if entry.method == DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, entry.size + 1)
        except zlib.error as error:
            raise SourceError(f"{where}: {entry.name!r} at offset {entry.local} is damaged ({error})") from error
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise SourceError(
            f"{where}: {entry.name!r} at offset {entry.local} has another size or CRC than the directory says; "
            f"copy or download it again"
        )
    return data


def _directory(file: BinaryIO, size: int, where: str) -> tuple[int, int, int]:
    """Return (start, end, members) of the central directory."""
    start = max(0, size - 22 - FULL16)
    tail = _read(file, start, size - start, where)
    at = tail.rfind(END)
    if at < 0 or len(tail) - at < 22:
        raise SourceError(f"{where} is truncated or no zip: it has no end-of-directory record; download it again")
    count, length, offset = struct.unpack("<10xHII2x", tail[at : at + 22])
    end = start + at
    if count == FULL16 or FULL32 in (length, offset):
        locator = _read(file, end - 20, 20, where)
        record = struct.unpack("<4s4xQ4x", locator)
        if record[0] == LOCATOR:
            signature, count, length, offset = struct.unpack("<4s28xQQQ", _read(file, record[1], 56, where))
            end = record[1]
            if signature != END64:
                raise SourceError(f"{where} is damaged: no zip64 record at offset {end}; copy or download it again")
    if offset + length != end:
        raise SourceError(f"{where} is damaged: its directory does not end at offset {end}; copy or download it again")
    return offset, end, count


def _entry(file: BinaryIO, position: int, where: str) -> _Entry:
    header = _read(file, position, 46, where)
    fields = struct.unpack("<4sHHHHIIIIHHHHHII", header)
    signature, made_by, _, flags, method, _, crc, packed, size, names, extras, comments, _, _, mode, local = fields
    if signature != CENTRAL:
        raise SourceError(f"{where} is damaged: no directory entry at offset {position}; copy or download it again")
    name = _decode(_read(file, position + 46, names, where), flags)
    if FULL32 in (size, packed, local):
        extra = _read(file, position + 46 + names, extras, where)
        size, packed, local = _zip64(extra, (size, packed, local), f"{where}: {name!r}")
    kind = (mode >> 16) & TYPE if made_by >> 8 == 3 else 0  # 3: made on Unix, with Unix modes
    if kind == LINK or flags & ENCRYPTED or method not in (STORED, DEFLATED):
        raise SourceError(f"{where}: {name!r} is a link, encrypted or packed by method {method}, which is refused")
    # Deflate stores what it cannot shrink, in blocks with 5 bytes of header each.
    most = size + (size >> 10) + 64 if method == DEFLATED else size
    if packed > most or (method == STORED and packed != size):
        raise SourceError(f"{where}: {name!r} claims two sizes, {packed} and {size}; copy or download it again")
    return _Entry(name, flags, method, crc, packed, size, local, 46 + names + extras + comments)


def _zip64(extra: bytes, values: tuple[int, int, int], where: str) -> list[int]:
    """Return the sizes and the offset with those that did not fit taken from the zip64 extra field."""
    while len(extra) >= 4:
        tag, length = struct.unpack("<HH", extra[:4])
        if tag == 1:
            wide = iter(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
            try:
                return [next(wide) if value == FULL32 else value for value in values]
            except StopIteration:
                break
        extra = extra[4 + length :]
    raise SourceError(f"{where} has no zip64 sizes; copy or download the archive again")


def _decode(name: bytes, flags: int) -> str:
    return name.decode("utf-8" if flags & UTF8 else "cp437", "replace")


def _read(file: BinaryIO, position: int, size: int, where: str) -> bytes:
    try:
        file.seek(position)
        data = file.read(size)
    except (OSError, ValueError, OverflowError) as error:
        raise SourceError(f"{where} is damaged: it points to offset {position}; copy or download it again") from error
    if len(data) != size:
        raise SourceError(f"{where} is truncated at offset {position + len(data)}: copy or download it again")
    return data
