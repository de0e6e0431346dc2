"""A limit on processes and threads, for root too: the pids controller of a control group, as containers use it.

RLIMIT_NPROC does not apply to root. A control group of version 1 or 2 does; only root can make one.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

PARENTS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))
PATIENCE_SECONDS = 5.0


def can_limit_tasks() -> bool:
    """Return whether this process can make a control group that limits tasks."""
    group = TaskGroup.make()
    if group is not None:
        group.close()
    return group is not None


class TaskGroup:
    """A control group of this process's making."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def make(cls) -> "TaskGroup | None":
        """Return a new group without a limit; None if this user or system cannot make one."""
        for parent in PARENTS:
            folder = parent / f"feedline-faults-{os.getpid()}"
            with suppress(OSError):
                folder.mkdir()
                if (folder / "pids.max").exists():
                    return cls(folder)
                folder.rmdir()
        return None

    def limit(self, processes: Iterable[psutil.Process], more: int) -> None:
        """Move the processes into the group, and let them start ``more`` tasks than they have."""
        for process in processes:
            with suppress(OSError):  # it has ended
                (self._folder / "cgroup.procs").write_text(str(process.pid))
        used = int((self._folder / "pids.current").read_text())
        (self._folder / "pids.max").write_text(str(used + more))

    def close(self) -> None:
        """Remove the group, once its processes have ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.02)
