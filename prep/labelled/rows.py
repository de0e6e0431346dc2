"""The rows of label lists in memory: a list may have 14 million, so each takes some 200 bytes.

A row is its file's path, and numbers in arrays: its class, its split, its line. Its further values lie in a temporary
file, which stays in memory while it is small.
"""

import json
import os
import posixpath
import re
import threading
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any
from weakref import finalize

from ..base.errors import SourceError
from ..base.names import is_class_id
from ..base.progress import Progress, silent
from ..roots.lists import FILE, LABEL, MAX_LINE
from ..sources.naming import SPLITS, SplitNames
from .images import NO_COLUMNS
from .roles import Roles, free_names
from .tables import MAX_COLUMNS, Row, Table

IN_MEMORY = 64 * 1024 * 1024  # bytes of further values; more go to a file in the system's temporary folder
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
INTEGER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
MAX_DIGITS = 18  # longer whole numbers are identifiers
SEPARATORS = "|;"
REPORTED = 4096  # rows between two reports of progress
NONE = -1


@dataclass(frozen=True)
class RowPlace:
    """Where a row stands, for messages."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line},"


class Rows:
    """All rows of the lists, by the path that they name."""

    def __init__(self) -> None:
        self.by_path: list[dict[str, int]] = []
        """Of each list, {path as the row says it, normalised: number of the row}."""
        self.labels: list[str] = []
        """The class ids, in the order of their first row."""
        self.label_of = array("i")
        """By row; NONE without a label."""
        self.split_of = array("b")
        """By row, the index in SPLITS, or NONE if the list does not say."""
        self.doubled = 0
        """Rows that repeat another one."""
        self._number_of: dict[str, int] = {}
        self._lines = array("Q")
        self._starts: list[int] = []
        self._tables: list[Table] = []
        self._values = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - open as long as the rows
        finalize(self, self._values.close)
        self._offsets = array("Q", [0])
        self._names: list[dict[str, str]] = []  # of each list, {column: the name under which it is kept}
        self._numeric: list[dict[str, bool]] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.label_of)

    def add(self, table: Table, roles: Roles, splits: SplitNames, progress: Progress = silent) -> None:
        """Read a list. Raises SourceError for a row without a file, or two rows that contradict each other."""
        others = [name for name in table.columns if name not in (roles.file, roles.label, roles.split)]
        self._starts.append(len(self))
        self._tables.append(table)
        by_path = dict[str, int]()
        self.by_path.append(by_path)
        self._names.append(free_names(others, (FILE, LABEL)))
        self._numeric.append({} if table.typed else dict.fromkeys(others, False))
        seen = _Numbers()
        for row in table.rows():
            if row.number % REPORTED == 0:
                progress("rows listed", row.number, row.number + 1)
            where = RowPlace(table.path, row.line)
            path = _path(row.values.get(roles.file), roles.file, where)
            label = self._label(row.values.get(roles.label), roles.label, where)
            split = _split(row.values.get(roles.split), roles.split, splits, where) if roles.split else NONE
            data = self._further(row, table, roles, where)
            number = by_path.setdefault(path, len(self))
            if number < len(self):
                self._check_same(number, label, split, self._read(number) == data, path, where)
                self.doubled += 1
                continue
            self.label_of.append(label)
            self.split_of.append(split)
            self._lines.append(row.line)
            if not table.typed:
                seen.see(row.values)
            self._values.write(data)
            self._offsets.append(self._offsets[-1] + len(data))
        self._numeric[-1] = {name: seen.is_numeric(name) for name in self._numeric[-1]}

    def where(self, number: int) -> RowPlace:
        """Return where a row stands."""
        return RowPlace(self._table(number)[1].path, self._lines[number])

    def label(self, number: int) -> str:
        """Return a row's class id, "" without one."""
        return "" if self.label_of[number] == NONE else self.labels[self.label_of[number]]

    def split(self, number: int) -> str:
        """Return a row's split, "" if the list does not say."""
        return "" if self.split_of[number] == NONE else SPLITS[self.split_of[number]]

    def list_of(self, number: int) -> Path:
        """Return the list that holds a row."""
        return self._table(number)[1].path

    def columns(self, number: int) -> Mapping[str, Any]:
        """Return a row's further values, as JSON has them: numbers where a whole column of a CSV is numbers."""
        if not (data := self._read(number)):
            return NO_COLUMNS
        found: Any = json.loads(data)
        at, table = self._table(number)
        names = self._names[at]
        if table.typed:
            return {names[name]: value for name, value in found.items()}
        numeric = self._numeric[at]
        return {names[name]: _value(text, numeric[name]) for name, text in zip(names, found, strict=True)}

    def check_repeated(self, number: int, first: int, path: str) -> None:
        """Raise SourceError unless two rows, which name one image in two ways, agree."""
        same = self.columns(number) == self.columns(first)
        self._check_same(first, self.label_of[number], self.split_of[number], same, path, self.where(number))
        self.doubled += 1

    def class_order(self, used: Iterable[int]) -> tuple[str, ...]:
        """Return the class ids of some rows in the order of their numbers if all are numbers; else none."""
        ids = {self.label(row) for row in used} - {""}
        if ids and all(map(INTEGER.fullmatch, ids)):
            return tuple(sorted(ids, key=int))
        return ()

    def check_single(self) -> None:
        """Raise SourceError if a label is several classes in one text, such as "cat|dog" where both are classes."""
        known = self._number_of
        for separator in SEPARATORS:
            for label in known:
                parts = [part.strip() for part in label.split(separator)]
                if len(parts) > 1 and all(part in known for part in parts):
                    raise self._several(label, self.where(self.label_of.index(known[label])))

    def _table(self, number: int) -> tuple[int, Table]:
        at = bisect_right(self._starts, number) - 1
        return at, self._tables[at]

    def _label(self, value: Any, column: str, where: RowPlace) -> int:
        if isinstance(value, list | dict):
            raise self._several(json.dumps(value)[:80], where)
        text = _label_text(value)
        if not text:
            return NONE
        number = self._number_of.get(text)
        if number is None:
            if not is_class_id(text):
                raise SourceError(
                    f"{where} has the label {text[:80]!r}, which is no class: at most 1000 characters in one line; "
                    f"choose another column with --label-column"
                )
            number = self._number_of[text] = len(self.labels)
            self.labels.append(text)
        return number

    def _several(self, label: str, where: RowPlace) -> SourceError:
        return SourceError(
            f"{where} has the label {label!r}, which is several classes; each image needs a single class, so choose "
            f"another column with --label-column (this one is then kept as a column)"
        )

    def _further(self, row: Row, table: Table, roles: Roles, where: RowPlace) -> bytes:
        """Return what is kept of a row's further values."""
        names = self._names[-1]
        if table.typed:
            mine = (roles.file, roles.label, roles.split)
            found = {name: value for name, value in row.values.items() if name not in mine}
            for name in found.keys() - names.keys():
                if len(names) >= MAX_COLUMNS:
                    raise SourceError(f"{where} has a key {name[:80]!r}; a list has at most {MAX_COLUMNS} keys")
                names |= {name: free_names([name], (FILE, LABEL, *names.values()))[name]}
            kept: object = found
        else:
            kept = [row.values[name] for name in names]
        if not kept:
            return b""
        try:
            data = json.dumps(kept, allow_nan=False).encode("ascii")
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{where} holds a value that JSON does not have ({error}); correct it") from error
        if len(data) > MAX_LINE:
            raise SourceError(f"{where} holds more than {MAX_LINE} bytes of further values; shorten them")
        return data

    def _read(self, number: int) -> bytes:
        """Return what is kept of a row's further values."""
        start, end = self._offsets[number], self._offsets[number + 1]
        if start == end:
            return b""
        with self._lock:
            self._values.seek(start)
            data = self._values.read(end - start)
            self._values.seek(0, os.SEEK_END)
        return data

    def _check_same(self, number: int, label: int, split: int, same: bool, path: str, where: RowPlace) -> None:
        """Raise SourceError unless a row repeats an earlier one of the same image; ``same`` is of further values."""
        before = self.where(number)
        earlier = f"line {before.line}" if before.path == where.path else str(before).rstrip(",")
        if label != self.label_of[number]:
            mine = self.labels[label] if label != NONE else "nothing"
            raise SourceError(
                f"{where} labels {path[:200]!r} as {mine!r}, and {earlier} as {self.label(number) or 'nothing'!r}; an "
                f"image has one label, so correct the list"
            )
        if split != self.split_of[number]:
            raise SourceError(f"{where} names {path[:200]!r} for another split than {earlier} does; correct the list")
        if not same:
            raise SourceError(
                f"{where} names {path[:200]!r} again, with other values than {earlier}; write one row for each image "
                f"(in JSON lines a value can be a list), or remove the columns that differ"
            )


class _Numbers:
    """Which columns of texts hold nothing but numbers."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._numbers: set[str] = set()

    def see(self, values: Mapping[str, str]) -> None:
        """Note the values of a row."""
        for name, value in values.items():
            if name in self._texts:
                continue
            text = value.strip()
            if text and not _is_number(text):
                self._texts.add(name)
            elif text:
                self._numbers.add(name)

    def is_numeric(self, name: str) -> bool:
        """Return whether a column holds a number, and numbers or nothing in all rows."""
        return name in self._numbers and name not in self._texts


def normal_path(text: str) -> str:
    """Return a path in the one form in which paths are compared: forward slashes, composed characters, no "./"."""
    if "\\" in text:
        text = text.replace("\\", "/")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if "//" in text or "./" in text or text.endswith(("/.", "/..")):
        text = posixpath.normpath(text)
    return text


def _path(value: Any, column: str, where: RowPlace) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    if not text:
        shown = "nothing" if value in (None, "", [], {}) else repr(value)[:80]
        raise SourceError(f"{where} has {shown} in {column!r}, where a file is expected; correct it")
    if "://" in text[:12]:
        raise SourceError(
            f"{where} names the address {text[:80]!r}, and feedline reads no images from a network; download them first"
        )
    return normal_path(text)


def _label_text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _split(value: Any, column: str, splits: SplitNames, where: RowPlace) -> int:
    text = _label_text(value)
    if not text:
        return NONE
    split = splits.of(text)
    if split is None:
        raise SourceError(
            f"{where} has {text[:80]!r} in {column!r}, which is no known name of a split; say which it is, with train, "
            f'val or test for SPLIT: --split-from "{text[:80]}=SPLIT"'
        )
    return SPLITS.index(split)


def _is_number(text: str) -> bool:
    if not NUMBER.fullmatch(text) or (len(text) > MAX_DIGITS and text.lstrip("-").isdigit()):
        return False
    return abs(float(text)) < float("inf")


def _value(text: str, numeric: bool) -> Any:
    if not (plain := text.strip()):
        return None
    if not numeric:
        return text
    return int(plain) if plain.lstrip("-").isdigit() else float(plain)
