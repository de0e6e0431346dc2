"""Limits on memory and on tasks by a control group, as containers and batch systems set them.

RLIMIT_NPROC does not apply to root, and RLIMIT_AS limits addresses instead of memory. A control group of version 1 or
2 limits the memory and the tasks of all its processes together, and counts how often a limit was reached. Only root
can make one.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

Controller = Literal["memory", "pids"]

TOP = Path("/sys/fs/cgroup")
PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class _Names:
    limit: str
    used: str
    reached: tuple[str, str]
    """A file and the word before the number in it, or no word if it has the number alone."""
    killed: tuple[str, str] | None = None


_NAMES: dict[Controller, tuple[_Names, ...]] = {
    "pids": (_Names("pids.max", "pids.current", ("pids.events", "max")),),
    "memory": (
        _Names(
            "memory.limit_in_bytes", "memory.usage_in_bytes", ("memory.failcnt", ""), ("memory.oom_control", "oom_kill")
        ),
        _Names("memory.max", "memory.current", ("memory.events", "max"), ("memory.events", "oom_kill")),
    ),
}


def can_limit(controller: Controller) -> bool:
    """Return whether this process can make a control group with this limit."""
    group = ControlGroup.make(controller)
    if group is not None:
        group.close()
    return group is not None


class ControlGroup:
    """A control group of this process's making."""

    def __init__(self, folder: Path, names: _Names) -> None:
        self._folder, self._names = folder, names

    @classmethod
    def make(cls, controller: Controller) -> "ControlGroup | None":
        """Return a new group without a limit; None if this user or system cannot make one."""
        for parent in (TOP / controller, TOP):
            folder = parent / f"feedline-faults-{os.getpid()}"
            with suppress(OSError):
                folder.mkdir()
                for names in _NAMES[controller]:
                    if (folder / names.limit).exists():
                        return cls(folder, names)
                folder.rmdir()
        return None

    def limit(self, processes: Iterable[psutil.Process], more: int) -> bool:
        """Move the processes into the group, and grant it ``more`` than it uses; return whether one was there.

        The memory that a process had before is not counted.
        """
        moved = 0
        for process in processes:
            with suppress(OSError):  # it has ended
                (self._folder / "cgroup.procs").write_text(str(process.pid))
                moved += 1
        used = int((self._folder / self._names.used).read_text())
        (self._folder / self._names.limit).write_text(str(used + more))
        return moved > 0

    def was_reached(self) -> bool:
        """Return whether the limit was reached."""
        return self._number(self._names.reached) > 0

    def has_killed(self) -> bool:
        """Return whether the kernel ended a process of the group."""
        return self._names.killed is not None and self._number(self._names.killed) > 0

    def close(self) -> None:
        """Remove the group, once its processes have ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.02)

    def _number(self, place: tuple[str, str]) -> int:
        file, word = place
        for line in (self._folder / file).read_text().splitlines():
            if (words := line.split())[:-1] == ([word] if word else []):
                return int(words[-1])
        return 0
