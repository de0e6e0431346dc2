"""Lists of images as tables, read from front to back: CSV and its relatives, JSON lines, and arrays of JSON objects.

The first bytes decide how a list is read, not its name. A delimiter is recognised by its fitting the first rows; if
several fit, the caller has to name one. Values of CSV are texts, those of JSON what JSON has. Every value and row is
bounded before it is kept.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from ..base.errors import SourceError
from ..images.files import is_image_name
from .column_names import FILES, LABELS, Lookup, plain_name
from .json_rows import json_array, json_lines
from .list_text import encoding_of, first_character, lines_of

MAX_COLUMNS = 1000
SAMPLE = 50  # rows by which a delimiter is recognised
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
PATHS = ""
"""In place of a delimiter: each line is the path of an image, and the folder in it is the class."""
PATH_COLUMNS = ("path", "folder")
COMMENT = "#"


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
    encoding = encoding_of(path, encoding)
    first = first_character(path, encoding)
    if first == "[":
        return _json_table(path, lambda: json_array(path, encoding))
    if first == "{":
        return _json_table(path, lambda: json_lines(path, encoding))
    return _csv_table(path, encoding, _delimiter(delimiter), lookup)


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
    return _split(_without_comments(lines_of(path, encoding)), delimiter, path)


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
    lines = list(islice(lines_of(path, encoding), SAMPLE + 1))
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


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise SourceError(f"{path} has {len(columns)} columns, and a list of labels at most {MAX_COLUMNS}")
    if doubled := sorted({name for name in columns if columns.count(name) > 1}):
        raise SourceError(f"{path} has two columns named {doubled[0][:80]!r}; rename one of them")
