"""Runs that were stopped while they were measured: noticed from outside, and measured again.

A process is stopped by SIGSTOP, by Ctrl-Z on its group, or with the whole machine that sleeps. Its clock goes on, so a
window that held the stop has too low a rate. The parent looks at the processes of a run each time it samples their
memory. A process in state T is stopped. If the time between two looks is longer than GAP, the parent itself was stopped
or the machine slept. The clock of these gaps counts sleep, which Linux' monotonic clock does not.

Such a run returns no rate. It raises RunStopped, and ``measured_again`` makes it again.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

import psutil

from ...prep import MeasurementError

T = TypeVar("T")

GAP = 3.0
"""Seconds between two looks from which the parent was stopped too; a busy machine delays a look by less."""
ATTEMPTS = 3
ENOUGH = 0.9
"""Part of its timeout that a run must have had without stops to count as hanging."""
LOOK_SECONDS = 0.2


class RunStopped(MeasurementError):
    """The processes of a measuring run were stopped for a while, so that its rate means nothing."""


class StopWatch:
    """Adds up the seconds in which the processes of a run were stopped."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = self._last = _now()
        self._still = False

    def look(self, processes: Iterable[psutil.Process]) -> None:
        """Count the time since the last look if one of the processes is stopped now, or this process was."""
        now = _now()
        since, self._last = now - self._last, now
        self._still = any(map(_is_stopped, processes))
        if since > GAP or self._still:
            self.seconds += since

    def check_timeout(self, timeout: float) -> None:
        """Raise RunStopped if a run reached its timeout only because it was stopped, and is stopped no more."""
        if not self._still and self._last - self._began - self.seconds < ENOUGH * timeout:
            self.check()

    def check(self) -> None:
        """Raise RunStopped if anything was stopped."""
        if self.seconds:
            raise RunStopped(
                f"the run was stopped for {self.seconds:.1f} s while it was measured, by SIGSTOP, Ctrl-Z or a machine "
                f"that slept; measure again without stopping it"
            )


@contextlib.contextmanager
def watched(pid: int) -> Generator[StopWatch, None, None]:
    """Watch a process and its descendants inside the block, from a thread."""
    watch, over = StopWatch(), threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            with contextlib.suppress(psutil.Error, OSError):
                process = psutil.Process(pid)
                watch.look([process, *process.children(recursive=True)])

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def measured_again(measure: Callable[[], T], prepare: Callable[[], object] = lambda: None) -> T:
    """Return what ``measure`` returns; call it again, after ``prepare``, if its run was stopped.

    Raises RunStopped if all ATTEMPTS runs were stopped.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return measure()
        except RunStopped:
            prepare()
    return measure()


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except (psutil.Error, OSError):
        return False


def _now() -> float:
    """Return seconds of a clock that never jumps and, on Linux, goes on while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
