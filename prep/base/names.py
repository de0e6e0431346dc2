"""Names that become part of a path, and the one check that they pass first.

A document can come from another machine or person. A name in it, such as that of a data set, a split, a class or a
shard, must never lead out of the folder that it belongs to, and must mean the same file on every system. The types
below check a field whenever a document is read; ``require_name`` checks a name from anywhere else.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

from .errors import DatasetError

MAX_NAME = 255  # bytes in UTF-8: what file systems hold
MAX_DEPTH = 8  # folders and file of a shard's path
UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


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


PlainName = Annotated[str, AfterValidator(_checked_name)]
"""A field of a document that becomes a file's or a folder's name."""
PlainPath = Annotated[str, AfterValidator(_checked_path)]
"""A field of a document that becomes a relative path, with forward slashes."""
