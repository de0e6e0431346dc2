"""One measuring run in a fresh process, seen from outside: start it, watch it, and bring back what it found.

A fresh process per run keeps one run's caches, threads and shared memory from colouring the next. It is the
interpreter itself with ``-m``, a job as JSON on its stdin and an answer as JSON on its stdout: no shell, no
fork, no pickle, so it is the same on Windows.

Every process of a run computes with one thread (OMP_NUM_THREADS=1). Torch otherwise gives the caller's thread
a pool as wide as the machine but DataLoader's workers one thread each, and "0 workers" would mean "all CPUs".

Memory is sampled from here, every 0.2 s, so that the measured process does nothing but load. Resident sizes
are summed; what forked workers share is counted once for each, because the exact share (PSS) costs walking
the page tables of the very processes that are being timed.
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
from .encodings import Profile
from .measure import Measurement
from .model_step import ModelStep
from .stacks import dump_time, innermost_frames, stacks_in

CHILD = (sys.executable, "-P", "-X", "utf8", "-m", "feedline.benchmarks.measuring.child")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class MeasuringJob:
    """What the fresh process shall measure."""

    loader: str
    spec: LoaderSpec
    seconds: float
    step: ModelStep | None = None
    """What the model does with each batch; None: nothing."""
    throttle: Throttle | None = None
    """Holds ``threaded`` to a slow disk; other loaders refuse it."""
    profile: bool = False
    """Time the loader's stages, which takes some seconds, instead of the loader."""
    one_epoch: bool = False
    """Read nothing twice: the data are cold."""
    dump_stacks_at: float | None = None
    """When the process shall write where its threads are, by ``time.time``: it should have ended by then."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What it found: a measurement, or a sentence that says why there is none."""

    problem: str | None = None
    open_seconds: float = 0.0
    measurement: Measurement | None = None
    profile: Profile | None = None


@dataclass(frozen=True, kw_only=True)
class MeasuringRun:
    """A finished measuring run."""

    open_seconds: float
    measurement: Measurement
    peak_rss_bytes: int | None


Runner = Callable[[MeasuringJob, float], MeasuringRun]
"""Measures a job, within a timeout in seconds."""
Profiler = Callable[[MeasuringJob, float], Profile]
"""Times the stages of a job's loader, within a timeout in seconds."""


def run_in_fresh_process(job: MeasuringJob, timeout: float, command: Sequence[str] = CHILD) -> MeasuringRun:
    """Measure ``job`` in a new process and return what it found. Raises MeasurementError as ``_ask`` does."""
    answer, peak_rss_bytes = _ask(job, timeout, command)
    if answer.measurement is None:
        raise MeasurementError(answer.problem or "the run found nothing")
    return MeasuringRun(
        open_seconds=answer.open_seconds,
        measurement=answer.measurement,
        peak_rss_bytes=peak_rss_bytes,
    )


def profile_in_fresh_process(job: MeasuringJob, timeout: float, command: Sequence[str] = CHILD) -> Profile:
    """Time the stages of the job's loader in a new process. Raises MeasurementError as ``_ask`` does."""
    answer, _ = _ask(replace(job, profile=True), timeout, command)
    if answer.profile is None:
        raise MeasurementError(answer.problem or "the run found nothing")
    return answer.profile


def _ask(job: MeasuringJob, timeout: float, command: Sequence[str]) -> tuple[Answer, int | None]:
    """Give ``job`` to a new process; return its answer and the peak memory of all its processes.

    Raises MeasurementError when the loader fails, when the process dies or when it takes more than
    ``timeout`` seconds; then the sentence says where it hung, and a note of the error has every thread's stack.
    No process of the run is left behind, whatever happens.
    """
    job = replace(job, dump_stacks_at=dump_time(timeout))
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
    )
    with process, _ProcessTree(process.pid) as tree:
        try:
            stdout, stderr = process.communicate(TypeAdapter(MeasuringJob).dump_json(job), timeout)
        except subprocess.TimeoutExpired as error:
            tree.end()
            raise _hang(timeout, _last_words(process)) from error
        finally:
            tree.end()
    return _answer(stdout, stderr, process.returncode), tree.peak_rss_bytes


def _last_words(process: "subprocess.Popen[bytes]") -> str:
    """Return what an ended process wrote to stderr."""
    try:
        return process.communicate(timeout=5)[1].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:  # a process that nobody knows holds the other end
        return ""


def _hang(timeout: float, stderr: str) -> MeasurementError:
    dump = stacks_in(stderr)
    where = f" in {innermost_frames(dump)}" if dump else ", before it had opened the loader"
    error = MeasurementError(f"the run took more than {timeout:g} s and was ended{where}")
    if dump:
        error.add_note(dump)
    return error


def _answer(stdout: bytes, stderr: bytes, code: int) -> Answer:
    """Read the answer; a process that died without one has its last words on stderr."""
    try:
        return TypeAdapter(Answer).validate_json(stdout)
    except ValidationError as error:
        words = stderr.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(words) if line.strip()), "it said nothing")
        raise MeasurementError(f"the measuring process ended with exit code {code}: {last}") from error


class _ProcessTree:
    """A process and its descendants: watched while they run, ended at the end.

    psutil knows a process by its number and its start time, so a number that was given away again is left alone.
    """

    def __init__(self, pid: int) -> None:
        self.peak_rss_bytes: int | None = None
        self._known: set[psutil.Process] = set()
        with contextlib.suppress(psutil.Error):
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
        """Stop watching and end whatever still runs."""
        self._stop.set()
        self._thread.join()
        self._look()
        for process in self._known:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._look()
            sizes = [size for process in self._known if (size := _resident(process))]
            if sizes:
                self.peak_rss_bytes = max(self.peak_rss_bytes or 0, sum(sizes))

    def _look(self) -> None:
        """Find the descendants that were born since the last time."""
        for root in self._roots:
            with contextlib.suppress(psutil.Error):
                self._known |= set(root.children(recursive=True))


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
