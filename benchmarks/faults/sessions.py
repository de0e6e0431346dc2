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
POLL_SECONDS = 0.02
SHM = Path("/dev/shm")

Disturb = Callable[[int], None]
"""Disturbs the session with this id."""


@dataclass(frozen=True)
class Finished:
    """How a command ended and what it left."""

    code: int | None
    """The exit code, negative for a signal; None for a command that did not end in time and was killed."""
    output: str
    seconds: float
    processes_left: int


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    limit: float,
    *,
    moment: float = 0.0,
    marker: str = "",
    disturb: Disturb | None = None,
    limits: Sequence[tuple[int, int]] = (),
) -> Finished:
    """Run a command; disturb it ``moment`` seconds after its start; end all of it after ``limit`` seconds.

    With a ``marker``, the moment counts from the time at which the output holds it.
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
    try:
        if disturb is not None:
            _wait_for_marker(process, log, marker, limit)
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            disturb(process.pid)
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(limit)
        seconds = time.monotonic() - began
        left = _wait_for_end(process.pid) if code is not None else 0
    finally:
        end_session(process.pid)
        process.wait()
    return Finished(code, log.read_text("utf-8", "replace"), seconds, left)


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
    for process in members(session):
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


def shared_memory() -> set[str]:
    """Return the names in /dev/shm."""
    return {path.name for path in SHM.iterdir()} if SHM.is_dir() else set()


def _wait_for_marker(process: "subprocess.Popen[bytes]", log: Path, marker: str, limit: float) -> None:
    deadline = time.monotonic() + limit
    while marker and marker.encode() not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            return
        time.sleep(POLL_SECONDS)


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
