"""The kinds of faults, where each can be injected, and the form of one that is ready."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .control_groups import can_limit
from .disks import can_mount
from .sessions import Finished

Kind = Literal[
    "kill",
    "term",
    "stop",
    "full disk",
    "full /dev/shm",
    "read-only disk",
    "address space limit",
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
LIMIT_KINDS: tuple[Kind, ...] = ("address space limit", "memory limit", "file limit", "process limit", "full /dev/shm")
HARMLESS: tuple[Kind, ...] = ("stop", "clock")
"""Faults that must not end anything."""
OF_COMMANDS: tuple[Kind, ...] = ("kill", "term", "stop", "clock", *DISK_KINDS, *LIMIT_KINDS, *FILE_KINDS)
OF_EPOCHS: tuple[Kind, ...] = ("kill", "stop", "clock", *LIMIT_KINDS, *FILE_KINDS)


@dataclass(frozen=True)
class Place:
    """The folders of one disturbed command."""

    data: Path
    """Its inputs: a copy, if the fault changes files."""
    reads: tuple[str, ...]
    """Patterns of the files there that may change."""
    out: Path
    disk: Path | None
    """The disk on which ``out`` lies, if a fault needs one."""
    expected_bytes: int
    """Bytes that an undisturbed run writes."""
    at_start: bool = True
    """Whether a limit may be set before the start; else it is set at the fault's moment, just above what is in use."""


def _always(done: Finished) -> bool:
    return True


def _never() -> bool:
    return False


def ended(done: Finished) -> bool:
    """Return whether the process did not succeed: of most limits, this alone shows that they were reached."""
    return done.code != 0


@dataclass(frozen=True)
class Fault:
    """One fault, ready to be injected."""

    detail: str
    limits: tuple[tuple[int, int], ...] = ()
    environment: dict[str, str] = field(default_factory=dict[str, str])
    disturb: Callable[[int], bool] | None = None
    """Disturbs a session at the fault's moment, and returns whether it found something to disturb."""
    felt: Callable[[Finished], bool] = _always
    """Whether the process met the fault, if ``disturb`` found something."""
    killed: Callable[[], bool] = _never
    """Whether the fault itself ended a process by SIGKILL."""
    repair: Callable[[], None] = field(default=lambda: None)


def possible(kind: Kind, target: str) -> bool:
    """Return whether this machine and user can inject ``kind`` into ``target``."""
    if kind in DISK_KINDS:
        return can_mount()
    if kind == "full /dev/shm":  # only torch's DataLoader uses it
        return can_mount() and target.endswith(("bench", "imagefolder", "webdataset"))
    if kind in ("address space limit", "file limit") and sys.platform != "linux":
        return False
    if kind == "memory limit":
        return can_limit("memory")
    if kind == "process limit":
        return sys.platform == "linux" and (os.geteuid() != 0 or can_limit("pids"))
    # Only archives and shards change places: a root stores no checksum of each image.
    return kind != "swapped file" or not target.endswith(("shard", "folders", "imagefolder"))
