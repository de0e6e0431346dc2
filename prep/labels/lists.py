"""The user's lists of classes and of class names.

A list of classes may be text, CSV or JSON, as lists of ImageNet-100 are, because everything between the wnids is
ignored. Files from Windows may have CRLF and a byte order mark.
"""

import re
from pathlib import Path

from ..base.errors import SourceError
from ..base.names import is_class_id

WNIDS = re.compile(rb"(?<![0-9A-Za-z])n[0-9]{8}(?![0-9])")
NAME = re.compile(r"(n[0-9]{8})\t(.+)")
MAX_BYTES = 16 * 1024 * 1024


def read_classes(path: Path) -> frozenset[str]:
    """Return every wnid in a text file; raise SourceError if it names none."""
    found = frozenset(wnid.decode() for wnid in WNIDS.findall(_read(path)))
    if not found:
        raise SourceError(f"{path} names no class; write wnids such as n01440764, one per line")
    return found


def read_names(path: Path) -> dict[str, str]:
    """Return {wnid: name} from lines of wnid, tab and name in UTF-8; raise SourceError for any other line."""
    names: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        match = NAME.fullmatch(line.strip())
        if match:
            names[match[1]] = match[2].strip()
        elif line.strip():
            raise SourceError(f"line {number} of {path} is {line[:80]!r}; write a wnid, a tab and a name")
    if not names:
        raise SourceError(f"{path} names no class; write lines of wnid, tab and name")
    return names


def read_class_names(path: Path) -> dict[str, str]:
    """Return {class id: name} from lines of id, tab and name in UTF-8; raise SourceError for any other line."""
    names: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        label, tab, name = line.strip().partition("\t")
        if tab and is_class_id(label.strip()) and name.strip():
            names[label.strip()] = name.strip()
        elif line.strip():
            raise SourceError(f"line {number} of {path} is {line[:80]!r}; write a class id, a tab and a name")
    if not names:
        raise SourceError(f"{path} names no class; write lines of class id, tab and name")
    return names


def _lines(path: Path) -> list[str]:
    try:
        return _read(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error
    if len(data) > MAX_BYTES:
        raise SourceError(f"{path} has more than {MAX_BYTES} bytes, so it is not a list of classes; check the path")
    return data
