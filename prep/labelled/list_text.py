"""The text of a list: its encoding, its first character and its lines, each bounded before it is kept.

A text is UTF-8, or UTF-16 with a byte order mark, unless the caller names another encoding.
"""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from ..base.errors import SourceError

MAX_LINE = 16 * 1024 * 1024  # characters of a line, or of an object in an array
UTF8 = "utf-8-sig"  # with a byte order mark or without

_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_FOREIGN = (
    (b"PK\3\4", "a zip archive or an Excel file; save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file; save it as CSV"),
    (b"PAR1", "a parquet file; give it to: feedline prep parquet"),
    (b"SQLite format 3", "an SQLite file; export its table as CSV"),
    (b"\x1f\x8b", "a gzip file; unpack it"),
)


def encoding_of(path: Path, encoding: str | None) -> str:
    """Return the encoding to open a list with; raise SourceError if it is no text, or the encoding is unknown."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check --labels") from error
    if not start.strip():
        raise SourceError(f"{path} is empty; write rows of file and label")
    if encoding is not None:
        try:
            "a".encode(encoding)
            known = codecs.lookup(encoding).name
        except (LookupError, ValueError) as error:
            raise SourceError(f"{encoding!r} is no encoding of text; an example: --encoding cp1252") from error
        return UTF8 if known == "utf-8" else known
    if found := next((name for mark, name in _MARKS if start.startswith(mark)), None):
        return found
    if what := next((what for mark, what in _FOREIGN if start.startswith(mark)), None):
        raise SourceError(f"{path} is {what}")
    if b"\0" in start:
        raise SourceError(
            f"{path} holds zero bytes, so it is no UTF-8 text; if it is UTF-16, add: --encoding utf-16-le; "
            f"otherwise save it as CSV in UTF-8"
        )
    return UTF8


def lines_of(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a text with their ends, as ``csv`` needs them."""
    number = 0
    try:
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as file:
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise SourceError(f"{path} has a line of more than {MAX_LINE} characters, line {number}")
                yield line
    except UnicodeError as error:
        raise not_encoded(path, encoding) from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check the disk, then run again") from error


def not_encoded(path: Path, encoding: str) -> SourceError:
    """Return the error for bytes that are not of the encoding, with their line."""
    if encoding != UTF8:
        return SourceError(f"{path} is no text in {encoding}; save it as UTF-8, or name its encoding with --encoding")
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                guess = bytes([byte]).decode("cp1252", "replace")
                return SourceError(
                    f"{path} is not UTF-8: line {number} holds the byte {byte:#04x}, in Windows-1252 {guess!r}; "
                    f"save it as UTF-8, or name its encoding, such as: --encoding cp1252"
                )
    return SourceError(f"{path} is not UTF-8; save it as UTF-8, or name its encoding with --encoding")


def first_character(path: Path, encoding: str) -> str:
    """Return the first character that is no space."""
    try:
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding=encoding) as file:
            while text := file.read(4096):
                if text := text.lstrip():
                    return text[0]
    except UnicodeError as error:
        raise not_encoded(path, encoding) from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check the disk, then run again") from error
    raise SourceError(f"{path} is empty; write rows of file and label")
