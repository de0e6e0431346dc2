"""Output directories: starting, continuing and finishing them, and the checks before anything is written.

An unfinished directory holds ``.partial/`` with a job file and unfinished files under temporary names. The job
file stores the command and everything that its result depends on. A file moves to its place by one rename when it
is whole. The manifest is written last, and ``.partial/`` is removed after it. So a directory without its manifest
is unfinished, and the same command continues it. A directory with neither does not come from feedline and stays
untouched.

The job holds sizes or digests of the sources, so it changes when a damaged source is repaired. A run that ends by such
an error notes that in its job, and the same command may then begin again with the sources as they are.
"""

import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial as bind
from pathlib import Path

from .disks import naming, remove_tree
from .documents import read_document, write_document
from .errors import DatasetError, FeedlineError, OutputError, SourceError
from .flush import flush_folder, flush_to_disk
from .lock import HOLDER, LOCK
from .manifest import MANIFEST, SHARDS
from .retries import retry_while_held

PARTIAL = ".partial"
JOB = "job.json"
SOURCES = "sources"
"""The setting that describes the sources."""

CLUSTER = 4096  # bytes; the default of NTFS, ext4 and APFS


@dataclass(frozen=True, kw_only=True)
class OutputJob:
    """What is written into a directory, and from what; equal jobs give identical bytes."""

    command: str
    """The command without "feedline", such as "prep imagenet"."""
    settings: dict[str, str | int | list[str]]
    """Everything else that the result depends on: sources with their sizes, splits, seed."""
    adopts: bool = field(default=False, compare=False)
    """Whether the directory is its own source, so that the job writes nothing but a manifest."""
    held: tuple[str, ...] = field(default=(), compare=False)
    """The folders that lay in the directory before the job, which therefore are not its own."""
    sources_failed: bool = field(default=False, compare=False)
    """Whether a run ended because of its sources, so that they may be other ones when the same command continues."""
    began_again: bool = field(default=False, compare=False)
    """Whether such a run went before, with other sources, so that files of it may lie in the directory."""


def start_output(out: Path, job: OutputJob) -> Path:
    """Start or continue ``job`` in ``out`` and return the directory for its unfinished files.

    For a job that adopts, ``out`` may hold files already, because they are the source of the job. Raises OutputError
    if ``out`` is a file, holds other files, or holds another unfinished job.
    """
    partial = out / PARTIAL
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; choose another directory with --out")
    if (partial / JOB).is_file():
        before = read_document(partial / JOB, OutputJob)
        # An adoption leaves nothing to continue. Version 0.1 did not record that a job adopts.
        if before.adopts or (job.adopts and before == job):
            remove_partial(out)
        elif before == job:
            return partial
        elif may_begin_again(before, job):
            _clear(partial)
            write_document(partial / JOB, replace(job, held=before.held, began_again=True))
            return partial
        else:
            raise OutputError(_other_job(out, before, job))
    finished = (out / MANIFEST).is_file()
    if not job.adopts and not finished:
        for entry in out.iterdir() if out.is_dir() else ():
            if entry.name not in (PARTIAL, SHARDS, LOCK, HOLDER):
                raise OutputError(f"{out} holds something else ({entry.name}); choose a new directory with --out")
    if partial.exists():  # files without their job: a run was killed while it wrote the job, or while it removed them
        if not finished and any(entry.name != JOB + ".partial" for entry in partial.iterdir()):
            raise OutputError(
                f"{partial} is not a folder of feedline; rename it, or choose another directory with --out"
            )
        remove_partial(out)
    held = sorted(entry.name for entry in out.iterdir() if entry.is_dir()) if out.is_dir() else []
    partial.mkdir(parents=True)
    write_document(partial / JOB, replace(job, held=tuple(held)))
    return partial


def sources_may_be_repaired(out: Path, job: OutputJob) -> AbstractContextManager[None]:
    """Let the same command go on with other sources if this block ends by an error of the sources.

    Class folders in place stay, and are compared with the source. The files in ``.partial/`` are written again.
    """
    document = out / PARTIAL / JOB
    return noting_failed_sources(job, lambda: read_document(document, OutputJob), bind(write_document, document))


@contextmanager
def noting_failed_sources(
    job: OutputJob, read: Callable[[], OutputJob | None], write: Callable[[OutputJob], object]
) -> Generator[None]:
    """Write into the document of ``job`` that its sources failed, if this block ends by an error of the sources."""
    try:
        yield
    except (SourceError, DatasetError):
        with suppress(FeedlineError, OSError):  # the error of the sources counts
            before = read()
            if before is not None and before == job:
                write(replace(before, sources_failed=True))
        raise


def may_begin_again(before: OutputJob, job: OutputJob) -> bool:
    """Return whether ``job`` is ``before``, which its sources ended, with other sources."""
    return before.sources_failed and _differ_in_sources_only(before, job)


def _differ_in_sources_only(one: OutputJob, other: OutputJob) -> bool:
    settings = [{**job.settings, SOURCES: ""} for job in (one, other)]
    return not other.adopts and one.command == other.command and settings[0] == settings[1]


def _clear(partial: Path) -> None:
    """Remove everything but the job. Pieces have numbers, which other sources may give to other pieces."""
    for entry in partial.iterdir():
        if entry.name != JOB:
            retry_while_held(bind(remove_tree, entry) if entry.is_dir() else entry.unlink)


def _other_job(out: Path, before: OutputJob, job: OutputJob) -> str:
    """Return the message for the unfinished job of another command; the directory may be a source of the user."""
    found = f"{out} holds an unfinished {before.command} of other sources or settings"
    if _differ_in_sources_only(before, job) and not before.held and not (out / MANIFEST).exists():
        return (
            f"{found}, such as these sources before they changed; choose another directory with --out, or remove {out} "
            f"and run the same command again"
        )
    return (
        f"{found}; run that command again to finish "
        f"it, or choose another directory with --out (if {out} is itself a source, remove only {out / PARTIAL})"
    )


def held_before(partial: Path) -> frozenset[str]:
    """Return the folders that lay in the output before its unfinished job began."""
    return frozenset(read_document(partial / JOB, OutputJob).held)


def has_files_of_failed_sources(partial: Path) -> bool:
    """Return whether the output may hold files of a run of its job that ended because of the sources."""
    job = read_document(partial / JOB, OutputJob)
    return job.sources_failed or job.began_again


def remove_partial(out: Path) -> None:
    """Remove the unfinished files of ``out``."""
    retry_while_held(bind(remove_tree, out / PARTIAL))


def finish_output(out: Path, manifest: object) -> None:
    """Flush all files to the disk, write the manifest, and remove ``.partial/``."""
    with naming(out):
        flush_to_disk(out)
    write_document(out / MANIFEST, manifest)
    flush_folder(out)
    remove_partial(out)


def require_room(out: Path, data: int, files: int = 0) -> None:
    """Raise OutputError if the file system of ``out`` lacks room for ``files`` files of ``data`` bytes in all.

    A file takes whole clusters and wastes half a cluster on average. For ImageNet this is 2.6 GB on 4 KiB clusters
    and 84 GB on the 128 KiB clusters of a large exFAT disk.
    """
    place = _nearest_existing(out)
    needed, free = data + files * cluster_size(place) // 2, shutil.disk_usage(place).free
    if free < needed:
        raise OutputError(
            f"{out} needs {needed / 1e9:.3g} GB and its disk has {free / 1e9:.3g} GB free; "
            f"free some space or choose another disk with --out"
        )


def cluster_size(place: Path) -> int:
    """Return the cluster size, in bytes, of the file system that holds the existing path ``place``."""
    if sys.platform == "win32":
        return _windows_cluster_size(place)
    return os.statvfs(place).f_frsize or CLUSTER


def _windows_cluster_size(place: Path) -> int:
    import ctypes

    sectors, size, _, _ = numbers = [ctypes.c_ulong() for _ in range(4)]
    root = ctypes.c_wchar_p(str(place.resolve().anchor))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - exists on Windows only
    if not kernel.GetDiskFreeSpaceW(root, *map(ctypes.byref, numbers)):
        return CLUSTER
    return sectors.value * size.value


def _nearest_existing(out: Path) -> Path:
    place = out.absolute()
    while not place.exists():
        place = place.parent
    return place
