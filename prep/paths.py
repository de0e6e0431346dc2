"""Paths that Windows would otherwise cut off: more than 259 characters need a prefix of their own.

ImageNet adds only 36 characters to the root, but roots on company machines are long, and whether Windows lifts its
limit depends on a registry setting. The prefix ``\\\\?\\`` always works, for absolute paths with backslashes.
"""

import sys
from pathlib import Path, PureWindowsPath

PREFIX = "\\\\?\\"
LIMIT = 259 - 100  # characters of a root, so that split, class, file and temporary names fit behind it


def reachable(path: Path) -> Path:
    """Return ``path`` in the form under which everything below it can be opened on this system."""
    if sys.platform != "win32":
        return path
    return Path(extended(str(path.absolute())))


def extended(path: str) -> str:
    """Return an absolute Windows path with the prefix for long paths where it is long; else as it is."""
    if len(path) <= LIMIT or path.startswith(PREFIX):
        return path
    # The prefix switches off the interpretation of slashes and dots; PureWindowsPath has done it before.
    name = str(PureWindowsPath(path))
    return f"{PREFIX}UNC\\{name[2:]}" if name.startswith("\\\\") else PREFIX + name
