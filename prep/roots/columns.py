"""The columns of a split: further values of each sample, such as captions or boxes, as lines of JSON objects.

    ROOT/<split>.jsonl           {"file_name": "a/1.jpg", "label": "cat", "caption": "on a roof"}: see ``lists``
    ROOT/shards/<shard>.jsonl    {"__key__": "1", "caption": "on a roof"}: see ``shards.columns``

Opening the lines finds where each of them begins, 8 bytes per line in memory, and parses none. 1.28 million lines open
in 0.1 s. A line is parsed when it is read. No file stays open or mapped between two reads, so threads
and forked processes can share the lines, and a file that is cut short later is an error and not a crash.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.errors import DatasetError, SampleError
from .lists import MAX_LINE

I64 = npt.NDArray[np.int64]

CHUNK = 4 * 1024 * 1024  # bytes that are searched for line ends at a time


class JsonLines:
    """The lines of some files, numbered through from 0. Many threads can read at the same time."""

    def __init__(self, paths: Sequence[Path], counts: Sequence[int], remedy: str) -> None:
        """Find the lines. ``counts`` are the lines of each file, and ``remedy`` is the end of error messages.

        Raises DatasetError for a file that cannot be read or has another count, and for a line of more than 16 MiB.
        """
        self._paths = list(paths)
        self._remedy = remedy
        self._first = np.cumsum([0, *counts])
        bounds = [self._find(path, count) for path, count in zip(self._paths, counts, strict=True)]
        self._starts = np.concatenate([np.empty(0, np.int64), *(found[:-1] for found in bounds)])
        self._ends = [int(found[-1]) for found in bounds]

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Return the objects of some lines, in the order of ``numbers``.

        Raises SampleError, with the file and the number of the line in it, for a line that is no JSON object.
        """
        files = np.searchsorted(self._first, numbers, side="right") - 1
        found: list[tuple[int, dict[str, Any]]] = []
        for file in sorted(set(files.tolist())):
            found += self._read_file(file, np.flatnonzero(files == file).tolist(), numbers)
        return [row for _, row in sorted(found, key=itemgetter(0))]

    def _read_file(
        self, file: int, places: Iterable[int], numbers: Sequence[int]
    ) -> Iterable[tuple[int, dict[str, Any]]]:
        path, first, last = self._paths[file], int(self._first[file]), int(self._first[file + 1]) - 1
        try:
            with path.open("rb", buffering=0) as opened:
                for place in places:
                    number = numbers[place]
                    start = self._starts.item(number)
                    end = self._starts.item(number + 1) if number < last else self._ends[file]
                    opened.seek(start)
                    yield place, parse_object(opened.read(end - start), f"{path}, line {number - first + 1}")
        except OSError as error:
            raise SampleError(f"cannot read {path}: {error.strerror}; {self._remedy}") from error
        except ValueError as error:
            raise SampleError(f"{error}; {self._remedy}") from error

    def _find(self, path: Path, count: int) -> npt.NDArray[np.int64]:
        """Return where each line begins and the last one ends, int64 (count + 1,)."""
        try:
            bounds = _line_bounds(path)
        except OSError as error:
            raise DatasetError(
                f"cannot read {path}, which holds the columns: {error.strerror}; {self._remedy}"
            ) from error
        if len(bounds) - 1 != count:
            raise DatasetError(f"{path} has {len(bounds) - 1} lines for {count} samples; {self._remedy}")
        lengths = np.diff(bounds)
        if lengths.max(initial=0) > MAX_LINE:
            line = int(lengths.argmax()) + 1
            raise DatasetError(f"{path}, line {line}, has {lengths.max()} bytes, more than {MAX_LINE}; {self._remedy}")
        return bounds


class Columns:
    """Chosen columns of a split by sample index. Many threads can read at the same time."""

    def __init__(self, names: Sequence[str], lines: JsonLines, places: Callable[[I64], I64] | None = None) -> None:
        """``places`` returns the numbers of samples' lines, int64; None: that of sample i is i."""
        self.names = tuple(names)
        self._lines = lines
        self._places = places

    def read(self, indexes: Sequence[int]) -> dict[str, list[Any]]:
        """Return {name: values of the samples, in the order of ``indexes``}; a missing value is None.

        Raises SampleError for a line that cannot be read.
        """
        rows = self._lines.read(indexes if self._places is None else self._places(np.array(indexes, np.int64)).tolist())
        return {name: [row.get(name) for row in rows] for name in self.names}


def parse_object(line: bytes, where: str) -> dict[str, Any]:
    """Return the object of one line. Raises ValueError, which begins with ``where``, for another line."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is no JSON object ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{where} is no JSON object")
    return found


def _line_bounds(path: Path) -> npt.NDArray[np.int64]:
    """Return where each line of a file begins, and where the last one ends, int64."""
    found, place = [np.zeros(1, np.int64)], 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(CHUNK):
            found.append(np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + (place + 1))
            place += len(data)
    bounds = np.concatenate(found)
    return bounds if bounds[-1] == place else np.append(bounds, place)
