"""The kinds of faults, where each can be injected, and the form of one that is ready."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .disks import Disk, can_mount
from .tasks import can_limit_tasks

Kind = Literal[
    "kill",
    "term",
    "stop",
    "full disk",
    "read-only disk",
    "memory limit",
    "file limit",
    "process limit",
    "missing file",
    "cut file",
    "swapped file",
    "clock",
]
DISK_KINDS: tuple[Kind, ...] = ("full disk", "read-only disk")
FILE_KINDS: tuple[Kind, ...] = ("missing file", "cut file", "swapped file")
LIMIT_KINDS: tuple[Kind, ...] = ("memory limit", "file limit", "process limit")
OF_COMMANDS: tuple[Kind, ...] = ("kill", "term", "stop", "clock", *DISK_KINDS, *LIMIT_KINDS, *FILE_KINDS)
OF_EPOCHS: tuple[Kind, ...] = ("kill", "stop", "clock", "memory limit", "file limit", *FILE_KINDS)


@dataclass(frozen=True)
class Place:
    """The folders of one disturbed command."""

    data: Path
    """Its inputs: a copy, if the fault changes files."""
    reads: tuple[str, ...]
    """Patterns of the files there that may change."""
    out: Path
    disk: Disk | None
    """The disk on which ``out`` lies, if a fault needs one."""
    expected_bytes: int
    """Bytes that an undisturbed run writes."""
    at_start: bool = True
    """Whether a limit may be set before the start; else it is set at the fault's moment, just above what is in use."""


@dataclass(frozen=True)
class Fault:
    """One fault, ready to be injected."""

    detail: str
    limits: tuple[tuple[int, int], ...] = ()
    environment: dict[str, str] = field(default_factory=dict[str, str])
    disturb: Callable[[int], None] = field(default=lambda session: None)
    repair: Callable[[], None] = field(default=lambda: None)


def possible(kind: Kind, target: str) -> bool:
    """Return whether this machine and user can inject ``kind`` into ``target``."""
    if kind in DISK_KINDS:
        return can_mount()
    if kind in ("memory limit", "file limit") and sys.platform != "linux":
        return False
    if kind == "process limit":
        return sys.platform == "linux" and (os.geteuid() != 0 or can_limit_tasks())
    # Only archives and shards change places: a root stores no checksum of each image.
    return kind != "swapped file" or not target.endswith(("shard", "folders", "imagefolder"))
