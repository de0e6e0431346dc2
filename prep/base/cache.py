"""The folder of what feedline keeps between runs: compiled code, and the lists of large folders."""

from pathlib import Path

from platformdirs import user_cache_dir


def cache_folder() -> Path:
    """Return the folder in the user's cache. It may not exist, and need not be writable.

    A user without a home, as a container with a random user id has, gets the path below the root folder. platformdirs
    returns a path that begins with "~" then, which would become a folder of that name where the user happens to be.
    """
    folder = Path(user_cache_dir("feedline", appauthor=False))
    return folder if folder.is_absolute() else Path("/.cache/feedline")
