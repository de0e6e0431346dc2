"""Claiming an output directory: what may be written where, what can be continued, and what is in the way.

A directory in the making holds ``.partial/``: a job file that says what is being made from what, and pieces under
temporary names. A piece moves into place by one rename when it is whole, the manifest is written last, and
``.partial/`` goes away after it. So a directory without its manifest is unfinished, and the same command
continues it; a directory with neither is somebody else's and is left alone.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

from .documents import read_document, write_document
from .errors import OutputError
from .manifest import MANIFEST, SHARDS
from .scanners import patiently

PARTIAL = ".partial"
JOB = "job.json"

CLUSTER = 4096  # bytes; what NTFS, ext4 and APFS use unless told otherwise


@dataclass(frozen=True, kw_only=True)
class OutputJob:
    """What a directory is being filled with: equal jobs give identical bytes."""

    command: str
    """Such as "prep imagenet"."""
    settings: dict[str, str | int | list[str]]
    """Everything that the result depends on: sources with their sizes, splits, seed."""


def claim(out: Path, job: OutputJob, *, adopt: bool = False) -> Path:
    """Make ``out`` ready for ``job``, new or continued, and return its directory for unfinished pieces.

    With ``adopt`` the files that are there already are what the job is about. Raises OutputError when ``out`` is a
    file, holds other files, or holds another unfinished job.
    """
    partial = out / PARTIAL
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; choose another directory with --out")
    if (partial / JOB).is_file():
        before = read_document(partial / JOB, OutputJob)
        if before != job:
            raise OutputError(
                f"{out} holds an unfinished {before.command} of other sources or settings; "
                f"delete {out} or choose another directory with --out"
            )
        return partial
    if not adopt and not (out / MANIFEST).is_file():
        for entry in out.iterdir() if out.is_dir() else ():
            if entry.name not in (PARTIAL, SHARDS):
                raise OutputError(f"{out} holds something else ({entry.name}); choose a new directory with --out")
    if partial.exists():  # pieces without their job: a run was killed while it cleared them away
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    write_document(partial / JOB, job)
    return partial


def spoil(out: Path, command: str) -> None:
    """Mark what ``out`` holds so far as made from a damaged source, so that no run continues it."""
    write_document(out / PARTIAL / JOB, OutputJob(command=f"{command} (of a damaged archive)", settings={}))


def finish(out: Path, manifest: object) -> None:
    """Flush everything to the disk, write the manifest, and clear away the unfinished pieces."""
    # One sync for all files: a million fsyncs take hours. Windows has none; there a power cut within seconds of
    # the end can still cost file contents, which `feedline verify` finds.
    if hasattr(os, "sync"):
        os.sync()
    write_document(out / MANIFEST, manifest)
    patiently(bind(shutil.rmtree, out / PARTIAL))


def require_room(out: Path, data: int, files: int = 0) -> None:
    """Raise OutputError when the file system of ``out`` lacks room for ``files`` files of ``data`` bytes in all.

    A file takes whole clusters, of which half a one is lost on average: 2.6 GB for ImageNet on 4 KiB clusters,
    84 GB on the 128 KiB clusters of a big exFAT disk.
    """
    place = _existing(out)
    needed, free = data + files * cluster_size(place) // 2, shutil.disk_usage(place).free
    if free < needed:
        raise OutputError(
            f"{out} needs {needed / 1e9:.3g} GB and its disk has {free / 1e9:.3g} GB free; "
            f"free some space or choose another disk with --out"
        )


def cluster_size(place: Path) -> int:
    """Return the bytes in which the file system of an existing ``place`` hands out space."""
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


def _existing(out: Path) -> Path:
    place = out.absolute()
    while not place.exists():
        place = place.parent
    return place
