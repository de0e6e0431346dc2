"""What is wrong with a disk that cannot be written or read, in words: which disk, and what it has left.

A full disk, a used-up quota, a disk that was mounted read-only after an error, a disk that fails: each is an
``OSError`` at any call that writes, up to ``fsync`` and ``close``. Python knows the file only if the call that opened
it failed. So what writes a file names it with ``naming``, and what reports the error describes it with ``reason_of``.
"""

import errno
import os
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

FEW = 16
"""Files that still fit when the error is described: those of the command, such as its lock, were removed meanwhile."""
LITTLE = 65_536
"""Free bytes from which the disk was full only with the unfinished file, which is removed before the description."""

_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, getattr(errno, "ESTALE", errno.EIO))
_QUOTA = getattr(errno, "EDQUOT", None)


@contextmanager
def naming(path: Path | str) -> Generator[None, None, None]:
    """Add ``path`` to an OSError of the system that names no file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it. Raises OSError, which names the folder."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        error.filename = str(folder)  # rmtree names a file without its folder
        raise


def reason_of(error: OSError, path: Path | str | None = None) -> str:
    """Return why a file could not be written: the system's words, and for a disk's fault which disk, and its state.

    ``path`` is the file, if ``error`` may not name it.
    """
    said, place = error.strerror or str(error), error.filename if path is None else path
    detail = _state(error.errno, Path(os.fsdecode(place))) if isinstance(place, (str, bytes, os.PathLike)) else None
    return f"{said} ({detail})" if detail else said


def is_of_the_disk(error: OSError) -> bool:
    """Return whether an error is one of the disk and not of the file, so that the same command can work later."""
    return error.errno in (errno.ENOSPC, errno.EFBIG, errno.EROFS, _QUOTA, *_GONE)


def disk_of(path: Path) -> Path:
    """Return where the file system of ``path``, which need not exist, is mounted."""
    place = path.absolute()
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    return place


def in_bytes(count: int) -> str:
    """Return a number of bytes in a unit that shows it: 812 bytes, 4.1 kB, 1.5 GB."""
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _state(number: int | None, path: Path) -> str | None:
    """Return the state of the disk of ``path`` for an errno, or None if the disk has nothing to do with it."""
    disk = disk_of(path)
    if number == errno.ENOSPC:
        return _room(disk)
    if number is not None and number == _QUOTA:
        return f"the quota of this user on {disk} is used up"
    if number == errno.EROFS:
        return f"{disk} is mounted read-only, as after an error of the disk"
    if number in _GONE:
        return f"{disk} or its connection fails; its log has more: dmesg"
    if number == errno.EFBIG and sys.platform != "win32":
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if most != resource.RLIM_INFINITY:
            return f"a file of this process may have {most} bytes; raise that limit with: ulimit -f unlimited"
        return f"the file system of {disk} has a largest size of a file"
    return None


def _room(disk: Path) -> str | None:
    try:
        usage = shutil.disk_usage(disk)
        if sys.platform != "win32" and usage.free and (counts := os.statvfs(disk)).f_files:
            if counts.f_favail < FEW:
                return f"{disk} has room for {counts.f_favail} more files, of {counts.f_files}"
    except OSError:
        return None
    rest = "" if usage.free < LITTLE else " without the unfinished file"
    return f"{disk} has {in_bytes(usage.free)} of {in_bytes(usage.total)} free{rest}"
