"""One process at a time writes into an output directory.

The lock is a file lock on a hidden file in the directory, so the system releases it when its process ends, however it
ends. The process, its host and its command stand in a JSON file next to it, for the message of a second process: on
Windows nobody can read a locked file. Both files are removed at the end; those of a dead process are no obstacle.
Commands that only read take no lock.
"""

import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .documents import read_document, write_document
from .errors import DatasetError, OutputError

LOCK_FILES = LOCK, HOLDER = ".feedline.lock", ".feedline.lock.json"
TRIES = 20  # each fails only if another process ends, or begins and ends, in the same instant


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock."""

    pid: int
    host: str
    command: str
    """The command without "feedline", such as "prep imagenet"."""


@contextmanager
def claimed(out: Path, command: str, *, create: bool = True) -> Generator[None]:
    """Hold the lock of the output ``out`` for ``command``, and make the directory if it is missing.

    A directory that this function made and that is empty at the end is removed. Without ``create``, a missing
    directory is not locked. A directory that cannot be written is not locked either: writing then raises.

    Raises OutputError if another process holds the lock, if ``out`` is a file, and where nothing can be made.
    """
    if not create and not out.is_dir():  # the caller says what is wrong with it
        yield
        return
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; choose another directory with --out")
    if out.is_symlink() and not out.exists():
        raise OutputError(
            f"{out} is a symbolic link to {str(out.readlink())!r}, which is not there; "
            f"make that folder, or choose another directory with --out"
        )
    made = _missing_folders(out)
    try:
        lock = _acquire(out)
        try:
            if lock is not None:
                write_document(out / HOLDER, Holder(pid=os.getpid(), host=socket.gethostname(), command=command))
            yield
        finally:
            if lock is not None:
                _release(out, lock)
    finally:
        with suppress(OSError):  # it is not empty
            for folder in made:
                folder.rmdir()


def _missing_folders(out: Path) -> list[Path]:
    """Return the folders that have to be made for ``out``, the deepest first."""
    return [folder for folder in (out, *out.parents) if not folder.exists()]


def _acquire(out: Path) -> FileLock | None:
    absent = False
    for _ in range(TRIES):
        lock = FileLock(out / LOCK, timeout=0, thread_local=False)
        try:
            out.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (Timeout, FileNotFoundError) as error:
            if isinstance(error, Timeout) and (out / LOCK).exists():
                raise OutputError(_busy(out)) from None
            absent = True  # the process before removed the file, or the directory that it had made
            continue
        except OSError:
            return None
        if _is_in_place(out, lock):
            return lock
        lock.release()  # the process before removed the file between the opening and the locking
        absent = False
    if absent:  # as in /proc, where nobody holds anything
        raise OutputError(f"cannot write to {out}: the system makes no file or folder there; choose another --out")
    raise OutputError(_busy(out))


def _is_in_place(out: Path, lock: FileLock) -> bool:
    """Whether the locked file is the one that others will find, and not one that was removed and made again."""
    descriptor: int = getattr(lock, "_context").lock_file_fd  # noqa: B009 - filelock has no public name for it
    try:
        return os.path.samestat(os.fstat(descriptor), (out / LOCK).stat())
    except FileNotFoundError:
        return False


def _release(out: Path, lock: FileLock) -> None:
    for name in (HOLDER, LOCK):  # before the release: after it, another process may hold them
        with suppress(OSError):
            (out / name).unlink(missing_ok=True)
    lock.release()
    if sys.platform == "win32":  # which does not remove an open file
        with suppress(OSError):
            (out / LOCK).unlink(missing_ok=True)


def _busy(out: Path) -> str:
    try:
        holder = read_document(out / HOLDER, Holder)
        who = f"feedline {holder.command}, process {holder.pid} on {holder.host}"
    except DatasetError:  # not written yet
        who = "another feedline"
    return f"{out} is being written by {who}; wait until it ends, then run the same command again"
