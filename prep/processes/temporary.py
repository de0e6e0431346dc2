"""Temporary folders that do not stay for ever if their process is killed: the next process removes them."""

import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".feedline.lock"
YOUNG_SECONDS = 60.0  # a process may be between making its folder and locking it


@contextmanager
def temporary_folder(purpose: str) -> Generator[Path, None, None]:
    """Make a folder ``feedline-PURPOSE-...`` for temporary files, which is removed when the block ends.

    Folders of the same purpose that killed processes of this user have left are removed first. The lock on a file in
    the folder, which ends with its process however that ends, shows whether one is in use.
    """
    prefix = f"feedline-{purpose}-"
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            _remove_if_abandoned(folder)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as made, FileLock(Path(made) / LOCK):
        yield Path(made)


def _remove_if_abandoned(folder: Path) -> None:
    found = folder.lstat()
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    if not own or time.time() - found.st_mtime < YOUNG_SECONDS or not (folder / LOCK).is_file():
        return
    try:
        with FileLock(folder / LOCK, timeout=0):
            pass
    except Timeout:
        return
    shutil.rmtree(folder, ignore_errors=True)
