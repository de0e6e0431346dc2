"""One command in a session of its own: started under limits, disturbed at a moment, and followed to its end.

A session holds every process that the command starts, also one whose parent has died. So whatever is left of it is
found. On Linux the command has a folder of temporary files and, in a private mount namespace, a /dev/shm of its own.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAM = (sys.executable, "-P", "-X", "utf8", "-c", "from feedline.cli.main import main; main()")
GRACE_SECONDS = 15.0
"""Time for the descendants of a command that has ended to notice it, and end too."""
PATIENCE_SECONDS = 5.0
POLL_SECONDS = 0.02
SHM = Path("/dev/shm")

Disturb = Callable[[int], bool]
"""Disturbs the session with this id; returns whether it found something to disturb."""


@dataclass(frozen=True)
class Finished:
    """How a command ended and what it left."""

    code: int | None
    """The exit code, negative for a signal; None for a command that did not end in time and was killed."""
    output: str
    seconds: float
    processes_left: int
    met: bool = True
    """Whether it was disturbed before it ended; True if nothing was to disturb it."""
    first_output: float | None = None
    """Seconds from the start to the marker; None if it never came, or if there was nothing to look for."""


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    limit: float,
    *,
    moment: float = 0.0,
    marker: str | None = None,
    disturb: Disturb | None = None,
    limits: Sequence[tuple[int, int]] = (),
) -> Finished:
    """Run a command; disturb it ``moment`` seconds after its start; end all of it after ``limit`` seconds.

    With a ``marker``, the moment counts from the time at which the output holds it. An empty marker is any output.
    ``limits`` are pairs of a resource and its limit (setrlimit). The command's output goes to ``log``.
    """
    began = time.monotonic()
    with log.open("wb") as written:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=_limiter(limits) if limits else None,
        )
    code: int | None = None
    met, first_output = disturb is None, None
    try:
        if marker is not None and _wait_for_marker(process, log, marker, limit):
            first_output = time.monotonic() - began
        if disturb is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            met = process.returncode is None and disturb(process.pid)
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(limit)
        seconds = time.monotonic() - began
        left = _wait_for_end(process.pid) if code is not None else 0
    finally:
        end_session(process.pid)
        process.wait()
    return Finished(code, log.read_text("utf-8", "replace"), seconds, left, met, first_output)


def members(session: int) -> list[psutil.Process]:
    """Return the processes of a session that have not ended, in the order of their ids."""
    found: list[psutil.Process] = []
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if os.getsid(pid) == session:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
    return sorted(found, key=lambda process: process.pid)


def end_session(session: int) -> None:
    """End every process of a session."""
    found = members(session)
    for process in found:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(found, PATIENCE_SECONDS)


def shared_memory() -> set[str]:
    """Return the names in /dev/shm."""
    return {path.name for path in SHM.iterdir()} if SHM.is_dir() else set()


def _wait_for_marker(process: "subprocess.Popen[bytes]", log: Path, marker: str, limit: float) -> bool:
    """Return whether the output came to hold the marker, or anything if the marker is empty."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        ended, output = process.poll() is not None, log.read_bytes()
        if output and marker.encode() in output:
            return True
        if ended:
            return False
        time.sleep(POLL_SECONDS)
    return False


def _wait_for_end(session: int) -> int:
    """Return how many processes are left when the others have had time to end."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := members(session)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return len(left)


def _limiter(limits: Sequence[tuple[int, int]]) -> Callable[[], None]:
    import resource

    def limit() -> None:
        for which, most in limits:
            resource.setrlimit(which, (most, most))

    return limit
