"""JSON lists, read from front to back: lines of objects, and arrays, of which a few objects are in memory at a time."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from ..base.errors import SourceError
from .list_text import MAX_LINE, lines_of, not_encoded

CHUNK = 1 << 20  # characters that are read of an array at a time


def json_lines(path: Path, encoding: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (line, object) of each line. Raises SourceError for a line that is no object."""
    for number, line in enumerate(lines_of(path, encoding), 1):
        if not line.strip():
            continue
        try:
            yield number, _object(json.loads(line, parse_constant=_constant))
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"{path}, line {number}, is no JSON object ({error}); write one object per line, as in "
                f'{{"file_name": "a.jpg", "label": "cat"}}'
            ) from error


def json_array(path: Path, encoding: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (number, object) of the objects of an array. Raises SourceError for damage and for other values."""
    try:
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding=encoding) as file:
            for number, value in enumerate(_elements(file, path), 1):
                yield number, _object(value)
    except UnicodeError as error:
        raise not_encoded(path, encoding) from error
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
