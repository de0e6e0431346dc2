"""Brace patterns, as data sets of shards are named: "imagenet-{train,val}-{000000..001281}.tar".

The rules are those of bash: a list in braces, a range of numbers or letters, with a step if a third number follows, and
braces inside braces. Numbers are padded with zeros if one of the ends is. Other braces stay as they are. feedline
expands patterns itself, so that a quoted pattern works, and every pattern on Windows.
"""

import re
from collections.abc import Iterator
from itertools import islice

from ..base.errors import SourceError

MOST = 1_000_000  # names; LAION-5B has 231,349 shards
RANGE = re.compile(r"(-?[0-9]{1,18}|[A-Za-z])\.\.(-?[0-9]{1,18}|[A-Za-z])(?:\.\.(-?[0-9]{1,9}))?")


def expand_braces(pattern: str) -> list[str]:
    """Return the names that a pattern stands for, in its order. Raises SourceError for more than 1,000,000."""
    found = list(islice(_expand(pattern), MOST + 1))
    if len(found) > MOST:
        raise SourceError(f"{pattern} stands for more than {MOST} shards; give a smaller range")
    return found


def _expand(text: str) -> Iterator[str]:
    start = 0
    while (start := text.find("{", start)) >= 0:
        end = _closing(text, start)
        inner = text[start + 1 : end]
        alternatives = None if end < 0 else _alternatives(inner)
        if alternatives is not None:
            for middle in alternatives:
                for rest in _expand(text[end + 1 :]):
                    yield text[:start] + middle + rest
            return
        start += 1
    yield text


def _closing(text: str, start: int) -> int:
    """Return the place of the brace that closes the one at ``start``, or -1."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if not depth:
            return place
    return -1


def _alternatives(inner: str) -> Iterator[str] | None:
    """Yield what stands between two braces, one by one; None if they are ordinary characters."""
    parts, depth, first = list[str](), 0, 0
    for place, character in enumerate(inner):
        depth += (character == "{") - (character == "}")
        if character == "," and not depth:
            parts.append(inner[first:place])
            first = place + 1
    if parts:
        return (name for part in [*parts, inner[first:]] for name in _expand(part))
    match = RANGE.fullmatch(inner)
    if match is None or match[1].isalpha() != match[2].isalpha():
        return None
    return _letters(match[1], match[2], match[3]) if match[1].isalpha() else _numbers(match[1], match[2], match[3])


def _numbers(first: str, last: str, step: str | None) -> Iterator[str]:
    padded = any(text.lstrip("-").startswith("0") and len(text.lstrip("-")) > 1 for text in (first, last))
    width = max(len(first), len(last)) if padded else 0
    return (f"{number:0{width}d}" for number in _range(int(first), int(last), step))


def _letters(first: str, last: str, step: str | None) -> Iterator[str]:
    return (chr(code) for code in _range(ord(first), ord(last), step))


def _range(first: int, last: int, step: str | None) -> range:
    by = abs(int(step or 1)) or 1
    return range(first, last + 1, by) if first <= last else range(first, last - 1, -by)
