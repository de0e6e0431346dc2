"""Names that become part of a path, and the one check that they pass first.

A document can come from another machine or person. A name in it, such as that of a data set, a split, a class or a
shard, must never lead out of the folder that it belongs to, and must mean the same file on every system. The types
below check a field whenever a document is read; ``require_name`` checks a name from anywhere else.
"""

import codecs
import os
import re
import sys
import unicodedata
from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator

from .errors import DatasetError

MAX_NAME = 255  # bytes in UTF-8: what file systems hold
MAX_DEPTH = 8  # folders and file of a shard's path
MAX_CLASS_ID = 1000  # characters; class ids may be captions or paths
UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


JOINERS = "\u200c\u200d"  # within words of Persian and Indic scripts, and within emoji


def printable(text: str) -> str:
    """Return a text of a user or a foreign file for one line of output: "?" for each character that cannot be shown.

    Those are control characters, such as of an escape sequence, marks that turn the direction of the text around them,
    and bytes of file names that are not UTF-8.
    """
    return "".join(character if character.isprintable() or character in JOINERS else "?" for character in text)


def is_text(path: PurePath) -> bool:
    """Return whether the bytes of a path are UTF-8, so that libraries that take text can open it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def name_in(error: UnicodeEncodeError) -> str | None:
    """Return the name of a file that cannot be written as text, or None if the error is about another text.

    Bytes of a name that are no text are surrogates; a locale that cannot spell a name has the encoding of all names.
    """
    wrong, of_names = error.object[error.start : error.end], sys.getfilesystemencoding()
    is_name = any("\udc80" <= character <= "\udcff" for character in wrong)
    is_locale = of_names != "utf-8" and codecs.lookup(error.encoding) == codecs.lookup(of_names)
    if not is_name and not is_locale:
        return None
    before = error.object[: error.start].rpartition("\n")[2]  # of a document, the line is enough
    return before[-MAX_NAME:] + error.object[error.start :].partition("\n")[0][:MAX_NAME]


def not_text(name: str) -> str:
    """Return what to do about a name of a file that cannot be written as text: its bytes are not UTF-8."""
    return (
        f"the name {name!a} holds bytes that are not UTF-8, which cannot be written here; rename it, or run with "
        f"PYTHONUTF8=1 if only the locale cannot spell it (LC_ALL=C)"
    )


def shortened(text: str, length: int) -> str:
    """Return a text of at most ``length`` characters, with an ellipsis at the end of one that was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"


def is_plain_name(name: object) -> bool:
    """Return whether a value is a plain file name on every system.

    It is not if it holds a separator, a drive or stream (":"), control characters or wildcards; if it is "..", ends
    with a dot or a space, or is a device of Windows; if it is empty or longer than 255 bytes.
    """
    if not isinstance(name, str) or not name or UNSAFE.search(name) or name[-1] in ". " or RESERVED.fullmatch(name):
        return False
    try:
        return len(name.encode()) <= MAX_NAME
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
        return False


def is_plain_path(path: object) -> bool:
    """Return whether a value is a relative path of at most 8 plain names, with forward slashes."""
    if not isinstance(path, str):
        return False
    parts = path.split("/")
    return len(parts) <= MAX_DEPTH and all(map(is_plain_name, parts))


def require_name(name: str, where: str) -> str:
    """Return ``name`` if it is a plain file name. Raises DatasetError, which begins with ``where``."""
    if not is_plain_name(name):
        raise DatasetError(f"{where} holds the name {name[:80]!r}, {_RULE}; get the file again from where it was made")
    return name


_RULE = "which is no plain file name of at most 255 bytes, so it is not used in a path"


def _checked_name(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(f"{name[:80]!r}, {_RULE}")
    return name


def _checked_path(path: str) -> str:
    if not is_plain_path(path):
        raise ValueError(f"{path[:80]!r}, which is no relative path of plain file names, so it is not used")
    return path


def is_path_below(path: object) -> bool:
    """Return whether a value is the path of a file below a folder, with forward slashes, as this system names files.

    Users' own files have names that not every system can hold, such as "a:b.jpg", so only what leads elsewhere is
    excluded: absolute paths, drives, "..", empty parts and NUL.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        return False
    if os.name == "nt" and ("\\" in path or ":" in path):
        return False
    return not any(part in ("", ".", "..") for part in path.split("/"))


def is_class_id(text: object) -> bool:
    """Return whether a value can be the id of a class: 1 to 1000 printable characters of any script, and spaces."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_CLASS_ID or text != text.strip():
        return False
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def _checked_class_id(text: str) -> str:
    if not is_class_id(text):
        raise ValueError(f"{text[:80]!r}, which is no class id: 1 to {MAX_CLASS_ID} characters without line breaks")
    return text


def _checked_path_below(path: str) -> str:
    if not is_path_below(path):
        raise ValueError(f"{path[:80]!r}, which is no path below a folder, so it is not used")
    return path


def _checked_place(place: str) -> str:
    if not place or "\0" in place:
        raise ValueError(f"{place[:80]!r}, which is no folder")
    return place


PlainName = Annotated[str, AfterValidator(_checked_name)]
"""A field of a document that becomes a file's or a folder's name."""
PlainPath = Annotated[str, AfterValidator(_checked_path)]
"""A field of a document that becomes a relative path, with forward slashes."""
PathBelow = Annotated[str, AfterValidator(_checked_path_below)]
"""A field of a document that is the path of a user's own file or folder below a root, with forward slashes."""
Place = Annotated[str, AfterValidator(_checked_place)]
"""A field of a document that is the path of a folder anywhere, from which feedline only reads."""
ClassId = Annotated[str, AfterValidator(_checked_class_id)]
"""A field of a document that is the id of a class: text of any script, which need not be a file name."""
