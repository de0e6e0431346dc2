"""A strict reader of zip files that yields the members of the central directory and reads single members.

Python's zipfile keeps half a kilobyte for each of 1.5 million members (Kaggle's ImageNet has that many). This is
more memory than everything else together. This reader keeps no member in memory. It follows PKWARE's APPNOTE 6.3
with the zip64 fields. It accepts stored and deflated regular files and rejects links, encryption, other methods
and offsets outside the file. It bounds sizes before it unpacks anything and checks the CRC.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..base.errors import SourceError

END, END64, LOCATOR, CENTRAL, LOCAL = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2", b"PK\3\4"
STORED, DEFLATED = 0, 8
METHODS = {9: " (Deflate64)", 12: " (bzip2)", 14: " (LZMA)", 93: " (zstd)", 95: " (xz)", 99: " (AES)"}
ENCRYPTED, UTF8 = 0x1, 0x800
LINK, TYPE = 0o120000, 0o170000
DOS = (0, 10, 14)  # made on FAT, NTFS or VFAT
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF

AGAIN = "copy or download it again"


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file or folder; a folder's name ends with a slash."""

    name: str
    size: int
    """Unpacked bytes."""
    position: int
    """The offset of its entry in the central directory, as ``read_zip_member`` takes it."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    local: int
    made_on_dos: bool
    length: int
    """Bytes of the entry in the central directory."""


def walk_zip(file: BinaryIO, size: int, archive: str) -> Iterator[ZipMember]:
    """Yield the members of a zip of ``size`` bytes, in the central directory's order.

    ``archive`` names the archive in messages. The caller may move the file position between two members. Raises
    SourceError with the offset of the damage, or for a member that is a link, encrypted or packed by another method.
    """
    position, end, count = _find_directory(file, size, archive)
    while count:
        entry = _read_entry(file, position, archive)
        # Windows PowerShell 5 and old .NET programs write backslashes between folders, against the standard.
        name = entry.name.replace("\\", "/") if entry.made_on_dos else entry.name
        if name.endswith("/") and entry.size:
            raise SourceError(f"{archive}: {entry.name!r} is a folder of {entry.size} bytes; {AGAIN}")
        yield ZipMember(name, entry.size, position)
        position, count = position + entry.length, count - 1
    if position != end:
        raise SourceError(f"{archive} is damaged (its directory ends at offset {position}, not {end}); {AGAIN}")


def read_zip_member(file: BinaryIO, position: int, archive: str) -> bytes:
    """Return the unpacked data of the member whose directory entry is at ``position``.

    The reader unpacks at most one byte more than the size in the directory. Raises SourceError if the local header,
    the size or the CRC differs from the directory.
    """
    entry = _read_entry(file, position, archive)
    data = _read(file, _find_data(file, entry, archive), entry.packed, archive)
    if entry.method == DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, entry.size + 1)
        except zlib.error as error:
            raise SourceError(
                f"{archive}: {entry.name!r} at offset {entry.local} is damaged ({error}); {AGAIN}"
            ) from error
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise SourceError(
            f"{archive}: {entry.name!r} at offset {entry.local} has another size or CRC than its directory entry; "
            f"{AGAIN}"
        )
    return data


def check_zip_member(file: BinaryIO, position: int, archive: str) -> None:
    """Raise SourceError if a member's name in the directory is not its name before the data: no CRC covers it."""
    _find_data(file, _read_entry(file, position, archive), archive)


def _find_data(file: BinaryIO, entry: _Entry, archive: str) -> int:
    """Return the offset of a member's data; raise SourceError if its local header differs from the directory."""
    header = _read(file, entry.local, 30, archive)
    signature, _, _, method, name_length, extra = struct.unpack("<4sHHH16xHH", header)
    name = _read(file, entry.local + 30, name_length, archive)
    if signature != LOCAL or method != entry.method or _decode_name(name, entry.flags) != entry.name:
        raise SourceError(f"{archive}: {entry.name!r} is not at offset {entry.local}; {AGAIN}")
    return entry.local + 30 + name_length + extra


def _find_directory(file: BinaryIO, size: int, archive: str) -> tuple[int, int, int]:
    """Return (start, end, members) of the central directory."""
    start = max(0, size - 22 - FULL16)
    tail = _read(file, start, size - start, archive)
    at = tail.rfind(END)
    if at < 0 or len(tail) - at < 22:
        raise SourceError(f"{archive} is truncated or not a zip (it has no end-of-directory record); {AGAIN}")
    count, length, offset = struct.unpack("<10xHII2x", tail[at : at + 22])
    end = start + at
    if count == FULL16 or FULL32 in (length, offset):
        locator = _read(file, end - 20, 20, archive)
        record = struct.unpack("<4s4xQ4x", locator)
        if record[0] == LOCATOR:
            signature, count, length, offset = struct.unpack("<4s28xQQQ", _read(file, record[1], 56, archive))
            end = record[1]
            if signature != END64:
                raise SourceError(f"{archive} is damaged (no zip64 record at offset {end}); {AGAIN}")
    if offset + length != end:
        raise SourceError(f"{archive} is damaged (its directory does not end at offset {end}); {AGAIN}")
    return offset, end, count


def _read_entry(file: BinaryIO, position: int, archive: str) -> _Entry:
    header = _read(file, position, 46, archive)
    fields = struct.unpack("<4sHHHHIIIIHHHHHII", header)
    signature, made_by, _, flags, method, _, crc, packed, size, names, extras, comments, _, _, mode, local = fields
    if signature != CENTRAL:
        raise SourceError(f"{archive} is damaged (no directory entry at offset {position}); {AGAIN}")
    name = _decode_name(_read(file, position + 46, names, archive), flags)
    if FULL32 in (size, packed, local):
        extra = _read(file, position + 46 + names, extras, archive)
        size, packed, local = _zip64(extra, (size, packed, local), f"{archive}: {name!r}")
    kind = (mode >> 16) & TYPE if made_by >> 8 == 3 else 0  # 3: made on Unix, with Unix modes
    if kind == LINK:
        raise SourceError(f"{archive}: {name!r} is a symbolic link; pack the files themselves, without links")
    if flags & ENCRYPTED:
        raise SourceError(
            f"{archive}: {name!r} is encrypted; unpack it with its password and give the folder: 7z x {archive}"
        )
    if method not in (STORED, DEFLATED):
        raise SourceError(
            f"{archive}: {name!r} is packed by method {method}{METHODS.get(method, '')}, which feedline does not read; "
            f"unpack it and give the folder: 7z x {archive}"
        )
    # Deflate stores data that it cannot compress in blocks with 5 bytes of header each.
    most = size + (size >> 10) + 64 if method == DEFLATED else size
    if packed > most or (method == STORED and packed != size):
        raise SourceError(f"{archive}: {name!r} has two sizes, {packed} and {size}; {AGAIN}")
    return _Entry(name, flags, method, crc, packed, size, local, made_by >> 8 in DOS, 46 + names + extras + comments)


def _zip64(extra: bytes, values: tuple[int, int, int], member: str) -> list[int]:
    """Return the sizes and the offset; those that do not fit 32 bits come from the zip64 extra field."""
    while len(extra) >= 4:
        tag, length = struct.unpack("<HH", extra[:4])
        if tag == 1:
            wide = iter(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
            try:
                return [next(wide) if value == FULL32 else value for value in values]
            except StopIteration:
                break
        extra = extra[4 + length :]
    raise SourceError(f"{member} has no zip64 sizes; copy or download the archive again")


def _decode_name(name: bytes, flags: int) -> str:
    """Return a name: the flag says UTF-8, and macOS writes UTF-8 without it; else the standard says code page 437."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("utf-8" if flags & UTF8 else "cp437", "replace")


def _read(file: BinaryIO, position: int, size: int, archive: str) -> bytes:
    try:
        file.seek(position)
        data = file.read(size)
    except (OSError, ValueError, OverflowError) as error:
        raise SourceError(f"{archive} is damaged (it points to offset {position}); {AGAIN}") from error
    if len(data) != size:
        raise SourceError(f"{archive} is truncated at offset {position + len(data)}; {AGAIN}")
    return data
