"""A strict reader of tar headers that yields every member or reports the offset of the damage.

Python's tarfile ends without an error when an archive is cut between two members, has one bad header or holds a
zero-filled hole (a preallocated download). A damaged ImageNet then looks like a smaller one. This reader follows
POSIX.1-1988 ustar with the pax and GNU long-name headers that re-packed archives have. It checks what tarfile does
not: every header's checksum, that data lies inside the archive, that two zero blocks end it, and that only padding
follows. It accepts regular files and directories, rejects every other type, and never writes. It only moves
forwards, so it can also read a tar inside a gzip stream.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ..base.errors import SourceError

BLOCK = 512
UNKNOWN = 1 << 62  # the size of a tar that is read from a stream
ZEROS = bytes(BLOCK)
MAX_EXTENDED = 64 * 1024  # bytes of one pax or long-name header; ImageNet needs none, a hostile one may claim 8 GB
LEAVE_OUT = "use an archive that holds regular files only"
_NO_LINKS = "pack the files themselves with: tar --dereference --hard-dereference"
OTHER_TYPES = {
    b"1": ("a hard link", _NO_LINKS),
    b"2": ("a symbolic link", _NO_LINKS),
    b"K": ("the long target of a link", _NO_LINKS),
    b"3": ("a device", LEAVE_OUT),
    b"4": ("a device", LEAVE_OUT),
    b"6": ("a pipe", LEAVE_OUT),
    b"S": ("a sparse file", "pack it again without --sparse"),
}
"""What members of the types that are refused are, and what to do."""
MAX_PADDING = 1024 * 1024  # bytes after the end blocks; GNU tar pads to 10,240


class Member(NamedTuple):
    """One regular file or directory of an archive."""

    name: str
    offset: int
    """The start of its data, in bytes from the start of the file that ``walk`` read."""
    size: int
    is_directory: bool = False
    owner: str = ""
    """The name of the user that the header records."""


def walk(file: BinaryIO, start: int, size: int, archive: str) -> Iterator[Member]:
    """Yield the members of the tar that occupies ``size`` bytes of ``file`` from ``start``.

    ``archive`` names the archive in messages. ``size`` is UNKNOWN for a stream. The caller may move the file
    position between two members. Raises SourceError with the offset of the damage, or of a member that is neither
    a regular file nor a directory.
    """
    position, end = start, start + size
    extended: dict[str, str] = {}
    while True:
        header = _read(file, position, BLOCK, end, archive)
        if header == ZEROS:
            return _check_end(file, position, end, archive)
        kind, name, length = _parse_header(header, position, archive)
        length = int(extended.get("size", length))
        data = position + BLOCK
        if length < 0 or length > end - data:
            raise SourceError(
                f"{archive} is truncated: member {name!r} at offset {position} has {length} bytes, "
                f"but {end - data} are left; copy or download it again"
            )
        position = data + -(-length // BLOCK) * BLOCK
        if kind in (b"x", b"g", b"L"):
            block = _read(file, data, min(length, MAX_EXTENDED + 1), end, archive)
            extended.update(_parse_extended(kind, block, data, archive))
        elif kind in (b"0", b"\0", b"7", b"5"):
            owner = header[265:297].split(b"\0", 1)[0].decode("ascii", "replace")
            yield Member(extended.get("path", name), data, length, kind == b"5", owner)
            extended = {}
        else:
            what, advice = OTHER_TYPES.get(kind, (f"of type {kind.decode('latin-1')!r}", LEAVE_OUT))
            raise SourceError(f"{archive}: member {name!r} at offset {data - BLOCK} is {what}; {advice}")


def read_member(file: BinaryIO, member: Member, archive: str) -> bytes:
    """Return a member's data; raise SourceError if the file ends before it does."""
    return _read(file, member.offset, member.size, member.offset + member.size, archive)


def _read(file: BinaryIO, position: int, size: int, end: int, archive: str) -> bytes:
    file.seek(position)
    data = file.read(size) if position + size <= end else b""
    if len(data) != size:
        raise SourceError(f"{archive} is truncated at offset {position}; copy or download it again")
    return data


def _parse_header(header: bytes, position: int, archive: str) -> tuple[bytes, str, int]:
    """Return (type flag, name, size) of a header block; raise SourceError if its checksum is wrong."""
    try:
        stored = _parse_number(header[148:156])
        length = _parse_number(header[124:136])
    except ValueError:
        stored, length = -1, 0
    unsigned = sum(header[:148]) + 8 * ord(" ") + sum(header[156:].rstrip(b"\0"))
    # Some old programs summed signed characters. GNU tar accepts both sums too.
    if stored != unsigned and stored != unsigned - 256 * sum(byte > 127 for byte in header[:148] + header[156:]):
        raise SourceError(
            f"{archive} has no tar header at offset {position} (it is damaged or not a tar); copy or download it again"
        )
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return header[156:157], name.decode("utf-8", "surrogateescape"), length


def _parse_number(field: bytes) -> int:
    """Return the value of an octal or GNU base-256 field; raise ValueError if it is neither."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b" \0")
    if not text.isdigit():
        raise ValueError(text)
    return int(text, 8)


def _parse_extended(kind: bytes, block: bytes, position: int, archive: str) -> dict[str, str]:
    """Return the path and size that a pax ("x") or GNU long-name ("L") header sets for the next member."""
    if len(block) > MAX_EXTENDED:
        raise SourceError(
            f"{archive}: the extended header at offset {position} has more than {MAX_EXTENDED} bytes; "
            f"copy or download it again"
        )
    if kind == b"L":
        return {"path": block.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")}
    if kind == b"g":  # defaults for all members, such as comments; ImageNet archives need none of them
        return {}
    found: dict[str, str] = {}
    try:
        while block.strip(b"\0"):
            length = int(block.split(b" ", 1)[0])
            key, value = block[:length].split(b" ", 1)[1].rstrip(b"\n").split(b"=", 1)
            # 20 digits are 100 EB; Python refuses to convert more than 4300.
            if length < 5 or (key == b"size" and not (value.isdigit() and len(value) <= 20)):
                raise ValueError(length)
            if key in (b"path", b"size"):
                found[key.decode()] = value.decode("utf-8", "surrogateescape")
            block = block[length:]
    except (ValueError, IndexError) as error:
        raise SourceError(
            f"{archive}: the extended header at offset {position} is damaged; copy or download it again"
        ) from error
    return found


def _check_end(file: BinaryIO, position: int, end: int, archive: str) -> None:
    """Raise SourceError unless two zero blocks lie at ``position`` and at most MAX_PADDING bytes of zeros follow."""
    # The block at ``position`` was read already. A zstd stream cannot go back to it, and gzip would begin again.
    file.seek(position + BLOCK)
    padding = ZEROS + file.read(min(end - position, MAX_PADDING + 1) - BLOCK)
    if len(padding) < 2 * BLOCK:
        raise SourceError(
            f"{archive} is truncated at offset {position} (its end-of-archive blocks are missing); "
            f"copy or download it again"
        )
    if padding.strip(b"\0"):
        raise SourceError(
            f"{archive} is damaged (data follows its end-of-archive blocks at offset {position}); "
            f"copy or download it again"
        )
    if len(padding) > MAX_PADDING:
        raise SourceError(
            f"{archive} has a hole (only zeros after offset {position}, in place of members); copy or download it again"
        )
