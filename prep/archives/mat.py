"""A reader of MATLAB's MAT-files (level 5) that is limited to ``meta.mat`` of the ILSVRC-2012 devkit.

The devkit numbers its classes by ILSVRC2012_ID, and only this file maps these numbers to wnids. It holds one
compressed array of structs. SciPy can read it, but SciPy has 35 MB and the file 130 kB. The reader follows
MathWorks' "MAT-File Format" (level 5): tagged elements, compressed with zlib, little-endian. It bounds the memory
that a file can take.
"""

import struct
import zlib
from collections.abc import Iterator

from ..base.errors import SourceError

HEADER = 128
MAX_FILE = 16 * 1024 * 1024  # bytes, packed or unpacked; the original has 0.13 and 2.5 MB
MATRIX, COMPRESSED = 14, 15
STRUCT = 2
# Data types of numbers and characters: {MAT-file code: format character of the struct module}.
NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q", 16: "B", 17: "H"}

Value = float | str | None


def read_structs(data: bytes, source: str) -> list[dict[str, Value]]:
    """Return the first array of structs in a MAT-file as one {field: scalar or text} per struct.

    ``source`` names the file in messages. A field that is neither a scalar nor a text, such as a matrix, becomes
    None. Raises SourceError if the file is damaged.
    """
    try:
        if len(data) > MAX_FILE or data[126:128] != b"IM":
            raise ValueError("it is not a little-endian MAT-file of level 5")
        for kind, body in _elements(data[HEADER:]):
            matrix = _unpacked(body) if kind == COMPRESSED else body if kind == MATRIX else b""
            if matrix[8:9] == bytes([STRUCT]):
                return list(_structs(matrix))
        raise ValueError("it holds no array of structs")
    except (ValueError, struct.error, zlib.error, IndexError, StopIteration, RuntimeError, TypeError) as error:
        raise SourceError(
            f"{source} cannot be read as meta.mat ({error}); copy or download the devkit again"
        ) from error


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (data type, content) of each element in ``data``, in order."""
    position = 0
    while position + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, position)
        if kind >> 16:  # a small element: size, type and up to 4 bytes in one 8-byte tag
            kind, size = kind & 0xFFFF, kind >> 16
            start, following = position + 4, position + 8
        else:
            start = position + 8
            following = start + size + (-size % 8 if kind != COMPRESSED else 0)
        if (size > 4 and following <= position + 8) or start + size > len(data):
            raise ValueError(f"an element at byte {position} claims {size} bytes")
        yield kind, data[start : start + size]
        position = following


def _unpacked(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(body, MAX_FILE)
    if inflater.unconsumed_tail:
        raise ValueError(f"it decompresses to more than {MAX_FILE} bytes")
    kind, matrix = next(_elements(data))
    if kind != MATRIX:
        raise ValueError("its compressed element holds no matrix")
    return matrix


def _structs(matrix: bytes) -> Iterator[dict[str, Value]]:
    """Yield the structs of a struct array.

    Its elements are: flags, dimensions, name, length of field names, field names, then the values.
    """
    parts = _elements(matrix)
    _flags, (_, shape), _name, (_, length), (_, names) = (next(parts) for _ in range(5))
    width = struct.unpack("<i", length)[0]
    if width <= 0:
        raise ValueError("its fields have no names")
    fields = [names[i : i + width].split(b"\0", 1)[0].decode("ascii") for i in range(0, len(names), width)]
    rows, columns = struct.unpack("<2i", shape)
    values = [value for _, value in parts]
    if not fields or rows * columns * len(fields) != len(values):
        raise ValueError(f"{rows} x {columns} structs of {len(fields)} fields, but {len(values)} values")
    for start in range(0, len(values), len(fields)):
        yield dict(zip(fields, map(_value, values[start : start + len(fields)]), strict=True))


def _value(matrix: bytes) -> Value:
    """Return a matrix's content if it is a scalar or a text, else None."""
    parts = list(_elements(matrix))
    if len(parts) < 4 or parts[3][0] not in NUMBERS:
        return None
    (_, flags), _shape, _name, (kind, body) = parts[:4]
    code = NUMBERS[kind]
    numbers = struct.unpack(f"<{len(body) // struct.calcsize(code)}{code}", body)
    if flags[0] == 4:  # the class of character arrays
        return body.decode("utf-8") if kind == 16 else "".join(map(chr, numbers))
    return float(numbers[0]) if len(numbers) == 1 else None
