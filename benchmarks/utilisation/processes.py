"""One run of emulated accelerators: a process for each, with its own loader and its own share of the data.

The processes go step by step. When all have written STEP, each gets the word of the pace. One thread for each process
reads its lines, and one its stderr, so that no pipe fills up. An accelerator that fails ends the run with its message.
All processes are ended in all cases.
"""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import psutil
from pydantic import ValidationError

from ...prep import MeasurementError
from ...prep.base.documents import from_json, json_bytes
from ...prep.limits.memory import Memory, memory_now
from ..measuring.process import ONE_THREAD, no_answer
from ..measuring.stacks import dump_time, innermost_frames, stacks_in
from ..measuring.stops import watched
from ..measuring.trees import end_processes
from .child import STEP, EmulationAnswer, EmulationJob
from .pace import Pace
from .steps import Emulated

PROGRAM = (sys.executable, "-P", "-X", "utf8", "-m", "feedline.benchmarks.utilisation.child")
KEPT_STDERR = 64 * 1024

Emulator = Callable[[Sequence[EmulationJob], float, float], list[Emulated]]
"""Runs jobs side by side for some seconds, within a timeout in seconds."""


def run_side_by_side(
    jobs: Sequence[EmulationJob], seconds: float, timeout: float, program: Sequence[str] = PROGRAM
) -> list[Emulated]:
    """Run all ``jobs`` at the same time for ``seconds`` and return what each counted, in their order.

    Raises MeasurementError if one fails, or if they take more than ``timeout`` seconds, and RunStopped if a process
    was stopped in the meantime.
    """
    memory, dump_at, until = memory_now(), dump_time(timeout), time.monotonic() + timeout
    accelerators: list[_Process] = []
    with watched(os.getpid()) as stops:
        try:
            lines: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
            for number, job in enumerate(jobs):
                accelerators.append(_Process(number, program, lines))
                accelerators[-1].send(json_bytes(replace(job, dump_stacks_at=dump_at, parent=os.getpid())) + b"\n")
            found = _conducted(accelerators, lines, Pace(seconds), until, memory)
        except queue.Empty as error:
            _end(accelerators)
            raise _timeout_error(accelerators, timeout) from error
        finally:
            _end(accelerators)
    stops.check()
    return found


def _conducted(
    accelerators: "Sequence[_Process]",
    lines: "queue.SimpleQueue[tuple[int, bytes]]",
    pace: Pace,
    until: float,
    memory: Memory,
) -> list[Emulated]:
    """Answer the steps of the accelerators until all have returned what they counted. Raises queue.Empty when late."""
    waiting, found = 0, dict[int, Emulated]()
    while len(found) < len(accelerators):
        number, line = lines.get(timeout=max(0.0, until - time.monotonic()))
        if number in found:  # its stdout is closed
            continue
        if line != STEP:
            found[number] = _counted(line, accelerators[number], memory)
            continue
        waiting += 1
        if waiting == len(accelerators):
            waiting, word = 0, pace.word().encode()
            for accelerator in accelerators:
                accelerator.send(word + b"\n")
    return [found[number] for number in range(len(accelerators))]


def _counted(line: bytes, accelerator: "_Process", memory: Memory) -> Emulated:
    """Return what an accelerator counted. Raises MeasurementError for its problem, or if it ended without a line."""
    try:
        answer = from_json(line, EmulationAnswer)
    except ValidationError as error:
        accelerator.end_of_stderr()
        raise MeasurementError(no_answer(bytes(accelerator.stderr), accelerator.exit_code(), memory)) from error
    if answer.emulated is None:
        raise MeasurementError(answer.problem or "the emulated accelerator returned no result")
    return answer.emulated


def _timeout_error(accelerators: "Sequence[_Process]", timeout: float) -> MeasurementError:
    """Return the error of a run that took too long, with the place where the first accelerator was."""
    for accelerator in accelerators:
        accelerator.end_of_stderr()
    dumps = [stacks_in(accelerator.stderr.decode("utf-8", "replace")) for accelerator in accelerators]
    dump = next(filter(None, dumps), "")
    where = f" in {innermost_frames(dump)}" if dump else ""
    error = MeasurementError(
        f"the run of {len(accelerators)} emulated accelerators took more than {timeout:g} s and was ended{where}"
    )
    if dump:
        error.add_note(dump)
    return error


def _end(accelerators: "Sequence[_Process]") -> None:
    """End all processes and their descendants, and close their pipes."""
    below: list[psutil.Process] = []
    for accelerator in accelerators:
        with suppress(psutil.Error, OSError):
            below += psutil.Process(accelerator.process.pid).children(recursive=True)
    for accelerator in accelerators:
        accelerator.process.kill()
    end_processes(None, below)
    for accelerator in accelerators:
        accelerator.close()


class _Process:
    """The process of one accelerator. Its lines go to a queue, and an empty line when stdout is closed."""

    def __init__(self, number: int, program: Sequence[str], lines: "queue.SimpleQueue[tuple[int, bytes]]") -> None:
        self.process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
        )
        self.stderr = bytearray()
        self._number, self._lines = number, lines
        self._readers = [_started(self._read_lines), _started(self._read_stderr)]

    def send(self, line: bytes) -> None:
        """Write a line to stdin; a process that has ended reads nothing, and its end is in the queue."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def exit_code(self) -> int:
        """Wait for the end of the process, which has closed stdout, and return its exit code."""
        try:
            return self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def end_of_stderr(self) -> None:
        """Wait until stderr is read. A descendant may keep it open, so not for long."""
        self._readers[1].join(timeout=5)

    def close(self) -> None:
        """Wait for the process, which was killed, and close its pipes."""
        self.process.wait()
        for pipe, reader in ((self.process.stdout, self._readers[0]), (self.process.stderr, self._readers[1])):
            reader.join(timeout=5)
            if pipe is not None and not reader.is_alive():  # else an unknown process holds the other end
                pipe.close()
        if self.process.stdin is not None:
            with suppress(OSError):  # flushes what the process has not read
                self.process.stdin.close()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put((self._number, line))
        self._lines.put((self._number, b""))

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while block := os.read(self.process.stderr.fileno(), 4096):
            self.stderr += block
            del self.stderr[:-KEPT_STDERR]


def _started(read: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread
