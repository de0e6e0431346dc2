"""Paths as callers give them, long ones on Windows, and the folder of what feedline keeps between runs.

Windows needs a prefix for paths from 260 characters on. ImageNet adds only 36 characters to the root, but roots on
company machines can be long. Whether Windows lifts its limit depends on a registry setting. The prefix ``\\\\?\\``
always works, for absolute paths with backslashes.
"""

import ntpath
import sys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path, PurePath

from platformdirs import user_cache_dir

PREFIX = "\\\\?\\"
LIMIT = 259 - 100  # characters of a root, so that split, class, file and temporary names fit after it

GivenPath = str | PathLike[str]
"""A path as a caller has it."""


def reachable(path: GivenPath) -> Path:
    """Return ``path`` in a form that lets this system open every path below it."""
    if sys.platform != "win32":
        return Path(path)
    return Path(extended(str(Path(path).absolute())))


def all_reachable(paths: GivenPath | Sequence[GivenPath]) -> list[Path]:
    """Return one path or several in that form."""
    return [reachable(path) for path in given_paths(paths)]


def given_paths(paths: GivenPath | Sequence[GivenPath]) -> Sequence[GivenPath]:
    """Return one path or several as several."""
    return [paths] if isinstance(paths, (str, PathLike)) else paths


def extended(path: str) -> str:
    """Return an absolute Windows path, with the prefix for long paths if it is long."""
    if len(path) <= LIMIT or path.startswith(PREFIX):
        return path
    name = ntpath.normpath(path)  # the prefix switches off the interpretation of slashes and dots
    return f"{PREFIX}UNC\\{name[2:]}" if name.startswith("\\\\") else PREFIX + name


def below(folder: PurePath, name: str) -> str:
    """Return the path of ``name``, which has forward slashes, below a folder that ``reachable`` may have prefixed.

    The function joins strings because it runs for each of a million files and pathlib takes 3 us.
    """
    path = f"{folder}/{name}"
    return path.replace("/", "\\") if path.startswith(PREFIX) else path


def cache_folder() -> Path:
    """Return the folder in the user's cache. It may not exist, and need not be writable.

    A user without a home, as a container with a random user id has, gets the path below the root folder. platformdirs
    returns a path that begins with "~" then, which would become a folder of that name where the user happens to be.
    """
    folder = Path(user_cache_dir("feedline", appauthor=False))
    return folder if folder.is_absolute() else Path("/.cache/feedline")
