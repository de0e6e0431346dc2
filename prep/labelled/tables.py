"""Lists of images as tables, read from front to back: CSV and its relatives, JSON lines, and arrays of JSON objects.

The first bytes decide how a list is read, not its name. A text is UTF-8, or UTF-16 with a byte order mark, unless the
caller names another encoding. A delimiter is recognised by its fitting the first rows; if several fit, the caller has
to name one. Values of CSV are texts, those of JSON what JSON has. Every value and row is bounded before it is kept.
"""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO, cast

from ..base.errors import SourceError
from ..images.files import is_image_name
from .column_names import FILES, LABELS, Lookup, plain_name

MAX_LINE = 16 * 1024 * 1024  # characters of a line, or of an object in an array
MAX_COLUMNS = 1000
SAMPLE = 50  # rows by which a delimiter is recognised
CHUNK = 1 << 20  # characters that are read of an array at a time
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
PATHS = ""
"""In place of a delimiter: each line is the path of an image, and the folder in it is the class."""
PATH_COLUMNS = ("path", "folder")
COMMENT = "#"
UTF8 = "utf-8-sig"  # with a byte order mark or without

_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_FOREIGN = (
    (b"PK\3\4", "a zip archive or an Excel file; save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file; save it as CSV"),
    (b"PAR1", "a parquet file; give it to: feedline prep parquet"),
    (b"SQLite format 3", "an SQLite file; export its table as CSV"),
    (b"\x1f\x8b", "a gzip file; unpack it"),
)


class Row(NamedTuple):
    """One row of a list."""

    number: int
    """Its place among the rows, from 1, the header not counted."""
    line: int
    """The line where it ends; of an array, the same as ``number``."""
    values: Mapping[str, Any]
    """By the name of the column."""


@dataclass(frozen=True)
class Table:
    """A list whose format is known. ``rows`` reads it from the beginning, as often as it is called."""

    path: Path
    columns: tuple[str, ...]
    """The names in the header; of a list without one, "1", "2" and so on; of JSON, the keys of the first objects."""
    rows: Callable[[], Iterator[Row]]
    typed: bool
    """Whether values are typed, as in JSON; else they are texts."""
    headed: bool = True
    """Whether it says the names of its columns."""


def open_table(
    path: Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    lookup: Lookup = lambda values: frozenset(),
) -> Table:
    """Return the table of a list.

    ``delimiter`` is one character, or a word of DELIMITERS. If ``lookup`` finds that a value of the first row
    names an image, the row is no header. Raises SourceError for a file that cannot be read or is no list.
    """
    encoding = _encoding(path, encoding)
    first = _first_character(path, encoding)
    if first == "[":
        return _json_table(path, lambda: _array(path, encoding))
    if first == "{":
        return _json_table(path, lambda: _json_lines(path, encoding))
    return _csv_table(path, encoding, _delimiter(delimiter), lookup)


def _encoding(path: Path, encoding: str | None) -> str:
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


def _lines(path: Path, encoding: str) -> Iterator[str]:
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
        raise _not_encoded(path, encoding) from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check the disk, then run again") from error


def _not_encoded(path: Path, encoding: str) -> SourceError:
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


def _first_character(path: Path, encoding: str) -> str:
    """Return the first character that is no space."""
    try:
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding=encoding) as file:
            while text := file.read(4096):
                if text := text.lstrip():
                    return text[0]
    except UnicodeError as error:
        raise _not_encoded(path, encoding) from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check the disk, then run again") from error
    raise SourceError(f"{path} is empty; write rows of file and label")


# CSV and its relatives


def _delimiter(text: str | None) -> str | None:
    if text is None:
        return None
    found = DELIMITERS.get(text.lower(), "\t" if text == "\\t" else text)
    if len(found) != 1 or found in '\r\n"\0':
        raise SourceError(f"{text!r} is no delimiter; give one character, or one of {', '.join(DELIMITERS)}")
    return found


def _csv_table(path: Path, encoding: str, delimiter: str | None, lookup: Lookup) -> Table:
    delimiter = delimiter or _recognised(path, encoding)
    first = next(_records(path, encoding, delimiter), None)
    if first is None:
        raise SourceError(f"{path} holds only comments; write rows of file and label")
    _, cells = first
    headed = delimiter != PATHS and not _names_an_image(cells, lookup)
    columns = tuple(cell.strip() for cell in cells) if headed else tuple(map(str, range(1, len(cells) + 1)))
    if delimiter == PATHS:
        columns = PATH_COLUMNS
    if headed:
        # Spreadsheets and pandas leave the name of a column of row numbers empty.
        columns = tuple(name or f"column {number}" for number, name in enumerate(columns, 1))
    _check_columns(path, columns)

    def rows() -> Iterator[Row]:
        records = _records(path, encoding, delimiter)
        for number, (line, record) in enumerate(islice(records, int(headed), None), 1):
            if len(record) != len(columns):
                raise SourceError(
                    f"{path}, line {line}, has {len(record)} values where the first row has {len(columns)}; "
                    f"put values that hold {delimiter!r} into quotes, or name the delimiter with --delimiter"
                )
            yield Row(number, line, dict(zip(columns, record, strict=True)))

    return Table(path, columns, rows, typed=False, headed=headed)


def _names_an_image(cells: Sequence[str], lookup: Lookup) -> bool:
    """Whether a value of the first row names an image, as far as possible by the values alone."""
    if any(map(is_image_name, cells)):
        return True
    if any(plain_name(cell) in FILES | LABELS for cell in cells):
        return False
    return bool(lookup(frozenset(cells)))


def _records(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of the records; blank lines and comments at the top are passed over."""
    return _split(_without_comments(_lines(path, encoding)), delimiter, path)


def _without_comments(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines; comments at the top become blank, so that the numbers of the lines stay."""
    for line in lines:
        if line.startswith(COMMENT):
            yield "\n"
        elif line.strip():
            yield from chain((line,), lines)
        else:
            yield line


def _split(lines: Iterator[str], delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    if delimiter in (" ", PATHS):
        for number, line in enumerate(lines, 1):
            if delimiter == PATHS and (text := line.strip()):
                yield number, [text, text.rpartition("/")[0].strip("/")]
            elif cells := line.split():
                yield number, cells
        return
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for record in reader:
            if record and (len(record) > 1 or record[0].strip()):
                yield reader.line_num, record
    except csv.Error as error:
        raise SourceError(
            f"{path}, line {reader.line_num}, is no CSV ({error}); look for a quote that is not closed"
        ) from error


def _recognised(path: Path, encoding: str) -> str:
    """Return the delimiter of a list, by the first rows; raise SourceError if several fit or none does."""
    lines = list(islice(_lines(path, encoding), SAMPLE + 1))
    whole = len(lines) <= SAMPLE
    widths: dict[str, int] = {}
    for delimiter in DELIMITERS.values():
        try:
            counts = [len(cells) for _, cells in _split(_without_comments(iter(lines)), delimiter, path)]
        except SourceError:
            counts = []  # perhaps a value with line breaks that goes on behind the sample
        if len(counts) > (not whole) and len(set(counts)) == 1 and counts[0] > 1:
            widths[delimiter] = counts[0]
    if path.suffix.lower() == ".tsv" and "\t" in widths:
        return "\t"
    if len(widths) > 1:  # names with spaces or class names with commas; spaces are the least likely
        widths.pop(" ", None)
    if len(widths) == 1:
        return next(iter(widths))
    if widths:
        options = " or ".join(f"--delimiter {name}" for name, text in DELIMITERS.items() if text in widths)
        raise SourceError(f"{path} can be read with several delimiters; say which one it has: {options}")
    if _are_paths(lines):
        return PATHS
    return _most_common(path, lines)


def _are_paths(lines: list[str]) -> bool:
    """Whether each line is one path with a folder, as in "apple_pie/1005649"."""
    held = [line.strip() for line in _without_comments(iter(lines)) if line.strip()]
    return all("/" in text.strip("/") and not any(mark in text for mark in ',;\t|"') for text in held)


def _most_common(path: Path, lines: list[str]) -> str:
    """Return the delimiter that the first row holds most often: its rows differ, so reading them names the line."""
    first = next((line for line in _without_comments(iter(lines)) if line.strip()), "")
    counts = {text: first.count(text) for text in DELIMITERS.values() if text != " "}
    best = max(counts, key=lambda text: counts[text])
    if not counts[best]:
        raise SourceError(
            f"{path} has one column: its first row is {first.strip()[:80]!r}; a list of labels has a column of files "
            f"and one of labels, with a comma, semicolon, tab or | between them"
        )
    return best


# JSON


def _json_table(path: Path, objects: Callable[[], Iterator[tuple[int, Mapping[str, Any]]]]) -> Table:
    columns: dict[str, None] = {}
    for _, found in islice(objects(), SAMPLE):
        columns |= dict.fromkeys(found)
    if not columns:
        raise SourceError(f"{path} holds no row; write JSON objects with a file and a label, one per line")
    _check_columns(path, tuple(columns))

    def rows() -> Iterator[Row]:
        for number, (line, found) in enumerate(objects(), 1):
            yield Row(number, line, found)

    return Table(path, tuple(columns), rows, typed=True)


def _json_lines(path: Path, encoding: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(_lines(path, encoding), 1):
        if not line.strip():
            continue
        try:
            yield number, _object(json.loads(line, parse_constant=_constant))
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"{path}, line {number}, is no JSON object ({error}); write one object per line, as in "
                f'{{"file_name": "a.jpg", "label": "cat"}}'
            ) from error


def _array(path: Path, encoding: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the objects of an array, of which a few are in memory at a time."""
    try:
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding=encoding) as file:
            for number, value in enumerate(_elements(file, path), 1):
                yield number, _object(value)
    except UnicodeError as error:
        raise _not_encoded(path, encoding) from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check the disk, then run again") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is no array of JSON objects ({error}); correct it, or write JSON lines") from error


def _elements(file: TextIO, path: Path) -> Iterator[Any]:
    decoder = json.JSONDecoder(parse_constant=_constant)
    buffer, position, chunk = "", 0, CHUNK

    def skip(expected: str) -> str:
        """Return the next character that is no space, and go behind it; it is one of ``expected``."""
        nonlocal buffer, position
        while True:
            while position < len(buffer):
                character = buffer[position]
                position += 1
                if character in expected:
                    return character
                if character not in " \t\r\n":
                    raise ValueError(f"{character!r} stands where one of {expected!r} is expected")
            buffer, position = file.read(CHUNK), 0
            if not buffer:
                raise ValueError("it is cut off")

    def at_end() -> bool:
        nonlocal buffer, position
        while not buffer[position:].lstrip():
            buffer, position = file.read(CHUNK), 0
            if not buffer:
                return True
        return False

    skip("[")
    if at_end():
        raise ValueError("it is cut off")
    buffer, position = buffer[position:].lstrip(), 0
    if buffer.startswith("]"):
        position = 1
    else:
        while True:
            while True:
                buffer, position = buffer[position:].lstrip(), 0
                try:
                    value, end = decoder.raw_decode(buffer)
                    if end < len(buffer):  # a number at the end of the buffer may go on
                        break
                except ValueError:
                    if len(buffer) > MAX_LINE:
                        raise
                more = file.read(chunk)
                chunk = min(2 * chunk, MAX_LINE)  # an object of many chunks is not decoded once for each
                if not more:
                    decoder.raw_decode(buffer)  # raises the error of a damaged object
                    raise ValueError("it is cut off")
                buffer += more
            position, chunk = end, CHUNK
            yield value
            if skip(",]") == "]":
                break
    if not at_end():
        raise ValueError("something follows it")


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{str(value)[:40]!r} is no object")
    return cast(Mapping[str, Any], value)


def _constant(text: str) -> float | None:
    """Return null for NaN, which Python's own writers use for a missing value; JSON has neither."""
    return None if text == "NaN" else float(text)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise SourceError(f"{path} has {len(columns)} columns, and a list of labels at most {MAX_COLUMNS}")
    if doubled := sorted({name for name in columns if columns.count(name) > 1}):
        raise SourceError(f"{path} has two columns named {doubled[0][:80]!r}; rename one of them")
