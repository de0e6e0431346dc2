"""Claiming an output directory: what may be written where, what can be continued, and what is in the way.

A directory in the making holds ``.partial/``: a job file that says what is being made from what, and pieces under
temporary names. A piece moves into place by one rename when it is whole, the manifest is written last, and
``.partial/`` goes away after it. So a directory without its manifest is unfinished, and the same command
continues it; a directory with neither is somebody else's and is left alone.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .documents import read_document, write_document
from .errors import OutputError
from .manifest import MANIFEST, SHARDS

PARTIAL = ".partial"
JOB = "job.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a directory is being filled with: equal jobs give identical bytes."""

    command: str
    """Such as "prep imagenet"."""
    settings: dict[str, str | int | list[str]]
    """Everything that the result depends on: sources with their sizes, splits, seed."""


def claim(out: Path, job: Job) -> Path:
    """Make ``out`` ready for ``job``, new or continued, and return its directory for unfinished pieces.

    Raises OutputError when ``out`` is a file, holds other files, or holds another unfinished job.
    """
    partial = out / PARTIAL
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; choose another directory with --out")
    if (partial / JOB).is_file():
        if read_document(partial / JOB, Job) != job:
            raise OutputError(
                f"{out} holds an unfinished {job.command} of other sources or settings; "
                f"delete {out} or choose another directory with --out"
            )
        return partial
    if not (out / MANIFEST).is_file():
        for entry in out.iterdir() if out.is_dir() else ():
            if entry.name not in (PARTIAL, SHARDS):
                raise OutputError(f"{out} holds something else ({entry.name}); choose a new directory with --out")
    partial.mkdir(parents=True, exist_ok=True)
    write_document(partial / JOB, job)
    return partial


def finish(out: Path, manifest: object) -> None:
    """Flush everything to the disk, write the manifest, and clear away the unfinished pieces."""
    # One sync for all files: a million fsyncs take hours. Windows has none; there a power cut within seconds of
    # the end can still cost file contents, which `feedline verify` finds.
    if hasattr(os, "sync"):
        os.sync()
    write_document(out / MANIFEST, manifest)
    shutil.rmtree(out / PARTIAL)


def require_room(out: Path, bytes_needed: int) -> None:
    """Raise OutputError when the file system of ``out`` has less than ``bytes_needed`` free."""
    place = out
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < bytes_needed:
        raise OutputError(
            f"{out} needs {bytes_needed / 1e9:.1f} GB and its disk has {free / 1e9:.1f} GB free; "
            f"free some space or choose another disk with --out"
        )
