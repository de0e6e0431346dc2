"""The limits on threads and processes, which Linux counts together as tasks.

``ulimit -u`` limits the tasks of a user over the whole machine, the cgroup those of a container or a systemd unit, and
the kernel those of the machine.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .cgroups import task_limit
from .shortage import Shortage

PROC = Path("/proc")
NO_TASK = 71  # sysexits.h, EX_OSERR: the exit code of a process of feedline that can start no thread


@dataclass(frozen=True, kw_only=True)
class TaskLimit:
    """A limit on threads and processes."""

    limit: int
    used: int | None
    """The threads and processes that count against it now; None if unknown."""
    whose: str
    """What is limited, such as "this user"."""
    raised_by: str
    """How the limit is raised."""

    @property
    def left(self) -> int:
        """How many more can start."""
        return self.limit - (self.used or 0)


def task_limits() -> TaskLimit | None:
    """Return the limit that leaves the fewest threads and processes; None without a limit, and outside Linux."""
    if sys.platform != "linux":
        return None
    return min(_limits(), key=lambda limit: limit.left, default=None)


def no_task_left(limit: TaskLimit | None) -> Shortage:
    """Return what a limit on threads and processes means once it is reached; None stands for an unknown limit."""
    consequence = "threads and worker processes cannot start"
    smaller = "use a smaller --workers, end other programs"
    if limit is None:
        found, remedy = "the system starts no further thread or process", f"{smaller}, or free memory"
    else:
        run = "" if limit.used is None else f", and {limit.used} run"
        found = f"{limit.whose} may have {limit.limit} threads and processes{run}"
        remedy = f"{smaller}, or raise the limit: {limit.raised_by}"
    return Shortage(found=found, consequence=consequence, remedy=remedy)


def _limits() -> Iterator[TaskLimit]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.getuid():  # Linux does not apply it to root
        may_raise = hard == resource.RLIM_INFINITY or hard > soft
        how = f"ulimit -u {'unlimited' if hard == resource.RLIM_INFINITY else hard}"
        how = how if may_raise else "nproc in /etc/security/limits.conf (as an administrator)"
        yield TaskLimit(limit=soft, used=_tasks_of(os.getuid()), whose="this user", raised_by=how)
    grant = task_limit()
    if grant is not None:
        how = "docker run --pids-limit=N ... (systemd: TasksMax=N; Kubernetes: the kubelet's podPidsLimit)"
        yield TaskLimit(limit=int(grant.limit), used=grant.used, whose=f"the cgroup {grant.folder}", raised_by=how)
    try:
        most = int((PROC / "sys/kernel/threads-max").read_text("ascii"))
        running = int((PROC / "loadavg").read_text("ascii").split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return
    yield TaskLimit(limit=most, used=running, whose="this machine", raised_by="sudo sysctl -w kernel.threads-max=N")


def _tasks_of(uid: int) -> int:
    """Return the threads of all processes of a user."""
    found = 0
    for process in PROC.glob("[0-9]*"):
        try:
            if process.stat().st_uid == uid:
                found += sum(1 for _ in (process / "task").iterdir())
        except OSError:  # it ended meanwhile
            continue
    return found
