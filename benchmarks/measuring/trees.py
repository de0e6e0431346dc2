"""End a measured process with all of its descendants."""

import contextlib
import time
from collections.abc import Iterable

import psutil

from ...prep.processes.parent import runs

GRACE_SECONDS = 3.0
"""The workers of feedline's loaders end by themselves within a second after their parent, and remove their sockets."""


def end_tree(pid: int) -> None:
    """End a process and its descendants, if they still run."""
    with contextlib.suppress(psutil.Error, OSError):
        root = psutil.Process(pid)
        end_processes(root, root.children(recursive=True))


def end_processes(root: psutil.Process | None, others: Iterable[psutil.Process]) -> None:
    """End ``root`` and, after some seconds, those of the others that have not ended by then."""
    left = list(others)
    if root is not None:
        _kill(root)
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := [process for process in left if runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        _kill(process)


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error, OSError):
        process.kill()
