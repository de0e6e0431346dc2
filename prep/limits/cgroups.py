"""The limits of the control groups (cgroups) of this process: CPU time, memory, threads and processes.

A limit applies to all groups below the one that has it. So the least limit counts, of the group of this process and of
every group above it. A container usually sees its own group as the root. Under systemd and in batch systems the limit
lies in a folder below the root, which ``/proc/self/cgroup`` names. In version 1 of cgroups each controller has folders
of its own.

Every function takes the folder where cgroups are mounted and the file that names the groups of the process, so that
the files of another machine can be read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MOUNT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A limit of a cgroup."""

    limit: float
    used: int | None
    """What all processes of the group use now; None if the group does not count it."""
    folder: Path
    """The folder of the cgroup."""


def cpu_quota(mount: Path = MOUNT, own: Path = OWN) -> Grant | None:
    """Return the least quota of CPU time, in CPUs; None without a quota, and if it cannot be read."""
    return _least("cpu", mount, own, _quota)


def memory_limit(mount: Path = MOUNT, own: Path = OWN) -> Grant | None:
    """Return the least limit on memory, in bytes; None without a limit, and if it cannot be read."""
    return _least("memory", mount, own, _memory)


def task_limit(mount: Path = MOUNT, own: Path = OWN) -> Grant | None:
    """Return the limit on threads and processes with the fewest left; None without a limit, and if it cannot be read.

    Each thread counts as one.
    """
    grants = _grants("pids", mount, own, _tasks)
    return min(grants, key=lambda grant: grant.limit - (grant.used or 0), default=None)


def _least(controller: str, mount: Path, own: Path, read: Callable[[Path], Grant | None]) -> Grant | None:
    return min(_grants(controller, mount, own, read), key=lambda grant: grant.limit, default=None)


def _grants(controller: str, mount: Path, own: Path, read: Callable[[Path], Grant | None]) -> list[Grant]:
    return [grant for folder in group_folders(controller, mount, own) if (grant := read(folder))]


def group_folders(controller: str, mount: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of the groups of this process for a controller, of both versions: its own, then each above.

    A container may see the path of its group on the host, which it cannot open, next to a mount of that group alone.
    """
    paths = {False: "/", True: "/"}  # by whether the group is of version 2
    for line in (_text(own) or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers or controller in controllers.split(","):
            paths[not controllers] = path
    hierarchies = [
        (True, mount),
        (True, mount / "unified"),
        (False, mount / controller),
        (False, mount / "cpu,cpuacct"),
    ]
    for unified, top in hierarchies:
        group = PurePosixPath(paths[unified])
        inside = group.is_absolute() and ".." not in group.parts  # ".." leads out of the container's own view
        for above in (group, *group.parents) if inside else (PurePosixPath("/"),):
            yield top / above.relative_to("/")


def _quota(folder: Path) -> Grant | None:
    words = (_text(folder / "cpu.max") or "").split()
    if not words:
        words = [_text(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):  # "max", or -1 in version 1
        return None
    return Grant(limit=int(words[0]) / int(words[1]), used=None, folder=folder)


def _memory(folder: Path) -> Grant | None:
    return _grant(folder, "memory.max", "memory.current") or _grant(
        folder, "memory.limit_in_bytes", "memory.usage_in_bytes"
    )


def _tasks(folder: Path) -> Grant | None:
    return _grant(folder, "pids.max", "pids.current")


def _grant(folder: Path, limit: str, used: str) -> Grant | None:
    limit_text, used_text = _text(folder / limit) or "", _text(folder / used) or ""
    if not limit_text.isdecimal():  # "max"
        return None
    return Grant(limit=int(limit_text), used=int(used_text) if used_text.isdecimal() else None, folder=folder)


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
