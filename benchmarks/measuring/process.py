"""A measuring run in a fresh process: start the process, watch it, and return its answer.

Each run has a process of its own, so that caches, threads and shared memory of one run do not affect the next. The
process is the interpreter with ``-m``. It gets a job as JSON on stdin and writes an answer as JSON to stdout. No
shell, fork or pickle is used, so it works in the same way on Windows.

Every process of a run computes with one thread (OMP_NUM_THREADS=1). Otherwise torch gives the caller's thread a pool
as wide as the machine but each of DataLoader's workers one thread, and "0 workers" would mean "all CPUs".

Memory is sampled in the parent, every 0.2 s, so that the measured process only loads. Resident sizes are summed.
Pages that forked workers share count once for each worker: the exact share (PSS) requires a walk through the page
tables of the processes that are being timed.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import psutil
from pydantic import TypeAdapter, ValidationError

from ...loaders import LoaderSpec
from ...loaders.support.throttle import Throttle
from ...prep import MeasurementError
from ...prep.base.documents import json_bytes
from ...prep.limits.memory import Memory, allocation_failed_in, memory_now, memory_ran_out
from ...prep.limits.reached import limit_in
from ...prep.processes.endings import how_it_ended
from .encodings import Profile
from .measure import Measurement
from .model_step import ModelStep
from .stacks import dump_time, innermost_frames, stacks_in
from .stops import StopWatch
from .trees import end_processes

CHILD = (sys.executable, "-P", "-X", "utf8", "-m", "feedline.benchmarks.measuring.child")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SAMPLE_SECONDS = 0.2
WAY_OUT = "use fewer --workers or a smaller --batch-size"


@dataclass(frozen=True, kw_only=True)
class MeasuringJob:
    """What the fresh process measures."""

    loader: str
    spec: LoaderSpec
    seconds: float
    step: ModelStep | None = None
    """What the model does with each batch; None for no model."""
    throttle: Throttle | None = None
    """Limits ``threaded`` to the speed of a slow disk; other loaders reject it."""
    profile: bool = False
    """Whether to time the loader's stages, which takes some seconds, instead of the loader."""
    one_epoch: bool = False
    """Whether to end with the first epoch, because the data are cold and no sample may be read twice."""
    until_fetched: bool = False
    """Whether the warm-up lasts until all shards of the split were fetched from their URL."""
    dump_stacks_at: float | None = None
    """When the process writes the stacks of its threads, by ``time.monotonic``, if it has not ended by then."""
    parent: int | None = None
    """The process that waits for the answer: the measuring process ends soon after it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a measuring process returns: a measurement or a profile, or the problem that prevented it."""

    problem: str | None = None
    open_seconds: float = 0.0
    measurement: Measurement | None = None
    profile: Profile | None = None


@dataclass(frozen=True, kw_only=True)
class MeasuringRun:
    """A finished measuring run and what the parent process measured of it."""

    open_seconds: float
    measurement: Measurement
    peak_rss_bytes: int | None


Runner = Callable[[MeasuringJob, float], MeasuringRun]
"""Measures a job, within a timeout in seconds."""
Profiler = Callable[[MeasuringJob, float], Profile]
"""Times the stages of a job's loader, within a timeout in seconds."""


def run_in_fresh_process(job: MeasuringJob, timeout: float, command: Sequence[str] = CHILD) -> MeasuringRun:
    """Measure ``job`` in a new process and return the run. Raises MeasurementError as ``_run_child`` does."""
    answer, peak_rss_bytes = _run_child(job, timeout, command)
    if answer.measurement is None:
        raise MeasurementError(answer.problem or "the run returned no result")
    return MeasuringRun(
        open_seconds=answer.open_seconds,
        measurement=answer.measurement,
        peak_rss_bytes=peak_rss_bytes,
    )


def profile_in_fresh_process(job: MeasuringJob, timeout: float, command: Sequence[str] = CHILD) -> Profile:
    """Time the stages of the job's loader in a new process. Raises MeasurementError as ``_run_child`` does."""
    answer, _ = _run_child(replace(job, profile=True), timeout, command)
    if answer.profile is None:
        raise MeasurementError(answer.problem or "the run returned no result")
    return answer.profile


def _run_child(job: MeasuringJob, timeout: float, command: Sequence[str]) -> tuple[Answer, int | None]:
    """Run ``job`` in a new process; return its answer and the peak memory in bytes of all its processes.

    Raises MeasurementError if the process ends without an answer, or if it takes more than ``timeout`` seconds. After
    a timeout the message names the places where it hung, and a note of the error has every thread's stack. Every
    process of the run is ended in all cases. Raises RunStopped if one of them was stopped in the meantime.
    """
    job, memory = replace(job, dump_stacks_at=dump_time(timeout), parent=os.getpid()), memory_now()
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
    )
    with process, _ProcessTree(process.pid) as tree:
        try:
            stdout, stderr = process.communicate(json_bytes(job), timeout)
        except subprocess.TimeoutExpired as error:
            tree.end()
            tree.stops.check_timeout(timeout)
            raise _timeout_error(timeout, _stderr_of(process), tree.stops.seconds) from error
        finally:
            tree.end()
    tree.stops.check()
    return _parsed_answer(stdout, stderr, process.returncode, memory), tree.peak_rss_bytes


def _stderr_of(process: "subprocess.Popen[bytes]") -> str:
    """Return the stderr of a process that has ended."""
    try:
        return process.communicate(timeout=5)[1].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:  # an unknown process holds the other end of the pipe
        return ""


def _timeout_error(timeout: float, stderr: str, stopped: float) -> MeasurementError:
    dump = stacks_in(stderr)
    if stopped and not dump:  # a stopped process writes no stacks
        return MeasurementError(
            f"the run took more than {timeout:g} s and was ended; a process of it was stopped for {stopped:.1f} s of "
            f"them, by SIGSTOP, Ctrl-Z or a machine that slept; measure again without stopping it"
        )
    where = f" in {innermost_frames(dump)}" if dump else ", before it had opened the loader"
    error = MeasurementError(f"the run took more than {timeout:g} s and was ended{where}")
    if dump:
        error.add_note(dump)
    return error


def _parsed_answer(stdout: bytes, stderr: bytes, code: int, memory: Memory) -> Answer:
    """Return the answer. If the process wrote none, raises MeasurementError with its signal or last line of stderr.

    ``memory`` is that before the run.
    """
    try:
        return TypeAdapter(Answer).validate_json(stdout)
    except ValidationError as error:
        raise MeasurementError(no_answer(stderr, code, memory)) from error


def no_answer(stderr: bytes, code: int, memory: Memory) -> str:
    """Return why a measuring process ended without an answer: its signal, or the last line of its stderr."""
    text = stderr.decode("utf-8", "replace")
    limit = limit_in(text)
    if code < 0 and limit is None:
        return f"the measuring process {how_it_ended(code, WAY_OUT, memory)}"
    last = next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "it wrote no message")
    if allocation_failed_in(last):  # before it could answer, as while it imports libraries
        return f"in the measuring process, {memory_ran_out(MemoryError(), WAY_OUT, here=False)}"
    return f"the measuring process ended with exit code {code}: {limit or last}"


class _ProcessTree:
    """A process and its descendants: watched while they run, and ended by ``end``.

    psutil identifies a process by its id and its start time, so a process that got a reused id is never ended.
    """

    def __init__(self, pid: int) -> None:
        self.peak_rss_bytes: int | None = None
        self.stops = StopWatch()
        self._known: set[psutil.Process] = set()
        self._ended = False
        with contextlib.suppress(psutil.Error, OSError):
            self._known.add(psutil.Process(pid))
        self._roots = tuple(self._known)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_ProcessTree":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop watching, after a last look, and end all processes that still run."""
        self._stop.set()
        self._thread.join()
        self._find_descendants()
        if not self._ended:
            self._ended = True
            self.stops.look(self._known)
        end_processes(next(iter(self._roots), None), self._known.difference(self._roots))

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._find_descendants()
            self.stops.look(self._known)
            sizes = [size for process in self._known if (size := _resident(process))]
            if sizes:
                self.peak_rss_bytes = max(self.peak_rss_bytes or 0, sum(sizes))

    def _find_descendants(self) -> None:
        """Add the descendants that were started since the last call."""
        for root in self._roots:
            with contextlib.suppress(psutil.Error, OSError):
                self._known |= set(root.children(recursive=True))


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except (psutil.Error, OSError):
        return 0
