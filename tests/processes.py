"""Processes that tests start, and all that those start in turn: they end with the test, whatever happens."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
MARK = "FEEDLINE_STARTED_BY_TEST"


@contextmanager
def started(
    command: Sequence[str], environment: dict[str, str] | None = None, **options: Any
) -> Iterator["subprocess.Popen[str]"]:
    """Start a process. When the block ends or fails, all that it started is killed, also what lost its parent.

    Every descendant inherits a variable with a value of its own; torchrun gives each rank a session.
    """
    mark = uuid.uuid4().hex
    held = {**ENVIRONMENT, "PYTHONFAULTHANDLER": "1", **(environment or {}), MARK: mark}
    options = {"stderr": subprocess.PIPE, "text": True, **options}
    with subprocess.Popen(list(command), env=held, **options) as process:
        try:
            yield process
        except subprocess.TimeoutExpired as error:
            for other in marked(mark):
                with suppress(psutil.Error):
                    other.send_signal(signal.SIGABRT)  # Python writes the stacks of all threads to stderr
            with suppress(subprocess.TimeoutExpired):
                said = process.communicate(timeout=10)
                raise AssertionError(f"{error}\n{said}") from error
            raise
        finally:
            while left := marked(mark):
                for other in left:
                    with suppress(psutil.Error):
                        other.kill()
                process.poll()


def finished(
    command: Sequence[str], timeout: float = 180, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a process to its end, with what it started. Raises AssertionError with the stacks of one that hangs.

    ``subprocess.run`` would wait for ever for the output of what a killed process had started.
    """
    with started(command, environment, stdout=subprocess.PIPE) as process:
        stdout, stderr = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(list(command), process.returncode, stdout, stderr)


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that run with this mark in their environment."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
