"""The limits on open files and on mappings of a process."""

import sys
from pathlib import Path

from .shortage import Shortage

MOST_MAPPINGS = Path("/proc/sys/vm/max_map_count")
ENOUGH_FILES = 65536
# torch's workers pass each tensor as an open file, and soon reach the default of macOS, 256.
FEW_FILES = 1024


def open_file_limits() -> tuple[int | None, int | None]:
    """Return the soft and the hard limit on open files; None if unlimited, and on Windows, which has no such limit."""
    if sys.platform == "win32":
        return None, None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    return None if soft == unlimited else soft, None if hard == unlimited else hard


def max_mappings() -> int | None:
    """Return how many mappings Linux allows a process; None on other systems."""
    try:
        return int(MOST_MAPPINGS.read_text("ascii"))
    except (OSError, ValueError):
        return None


def too_few_files(soft: int | None, hard: int | None) -> Shortage:
    """Return what the limit on open files of a process means once it is reached."""
    higher = f"ulimit -n {min(hard or ENOUGH_FILES, ENOUGH_FILES)}" if soft and (hard is None or hard > soft) else None
    step = f"raise the limit before it starts, with: {higher}" if higher else "ask the administrator to raise it"
    return Shortage(
        found=f"this process may open {soft} files" if soft else "this process may open no further file",
        consequence='worker processes end with "too many open files"',
        remedy=f"close some, or {step}",
    )


def more_files(soft: int, hard: int | None) -> str:
    """Return the command that raises a low limit on open files as far as feedline needs it."""
    target = FEW_FILES * 4 if hard is None else min(hard, FEW_FILES * 4)
    return f"ulimit -n {target}" if target > soft else "sudo prlimit --nofile=4096 --pid $$"


def too_few_mappings() -> str:
    """Return what to do if the system maps no further file."""
    most = max_mappings()
    return (
        f"the system has no memory for another mapping, or this process has {most or 'the most'} mappings; "
        f"raise the limit with: sudo sysctl -w vm.max_map_count={4 * (most or 65530)}"
    )
