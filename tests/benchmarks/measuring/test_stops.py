"""Measuring runs that are stopped, and clocks that jump: no wrong rate, and no hang beyond the timeout."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from feedline.benchmarks import Plan, bench, read_records
from feedline.benchmarks.measuring import stacks
from feedline.benchmarks.measuring.process import MeasuringJob, MeasuringRun, run_in_fresh_process
from feedline.benchmarks.measuring.stops import RunStopped, StopWatch
from feedline.loaders import LoaderSpec
from feedline.prep import MeasurementError

from ..runs import run_at

ANSWERS = """
import os, signal, sys, time
sys.stdin.read()
if sys.argv[1] == "stop":
    os.kill(os.getpid(), signal.SIGSTOP)
print('{"open_seconds": 0.1, "measurement": {"first_batch_seconds": 0.1, "warmup": [], "windows": '
      '[{"seconds": 1.0, "samples": 100}], "gap_seconds": [], "samples_seen": 100, "label_sum": 0, '
      '"cpu_seconds": null}}')
"""
STUCK = """
import json, runpy, sys, time
stacks = runpy.run_path(sys.argv[1])  # without the imports of the package, which take seconds on a busy machine
def waits_for_ever():
    time.sleep(60)
stacks["dump_stacks_at"](json.load(sys.stdin)["dump_stacks_at"])
waits_for_ever()
"""
JUMPS = """
import time
_time, _calls = time.time, iter(range(10**9))
time.time = lambda: _time() + (-1) ** next(_calls) * 86_400  # a day ahead, a day behind
"""

needs_stop = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")


@pytest.fixture
def jumping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the time of day jump in every Python process that the test starts."""
    folder = tmp_path / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(JUMPS)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    code = "import time; print(abs(time.time() - time.time()) > 10_000)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    return folder


def job(root: Path) -> MeasuringJob:
    return MeasuringJob(loader="imagefolder", spec=LoaderSpec(root=root), seconds=0.1)


def continue_stopped(after: float, over: threading.Event) -> None:
    """Send SIGCONT to each stopped child, ``after`` seconds of its stop."""
    while not over.wait(0.05):
        for child in psutil.Process().children(recursive=True):
            if child.status() == psutil.STATUS_STOPPED:
                time.sleep(after)
                child.send_signal(signal.SIGCONT)


@pytest.mark.measures
@needs_stop
def test_a_run_that_was_stopped_is_measured_again(root: Path, tmp_path: Path) -> None:
    """The stopped run leaves no record; the next attempt does. A run that is stopped each time is a failure."""
    over, modes = threading.Event(), ["stop", "answer", *["stop"] * 3]
    thread = threading.Thread(target=continue_stopped, args=(0.6, over))
    thread.start()

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        return run_in_fresh_process(job, 30, [sys.executable, "-c", ANSWERS, modes.pop(0)])

    try:
        plan = Plan(root=root, loaders=("imagefolder",), workers=(0, 1), repeats=1)
        result = bench(plan, tmp_path / "bench", run=run)
    finally:
        over.set()
        thread.join()

    (record,) = read_records([tmp_path / "bench"])
    assert record.config.workers == 0 and record.measurement.images_per_second == 100 and not modes
    assert "was stopped for" in result.failures[0].problem and "measure again" in result.failures[0].problem


@pytest.mark.measures
@needs_stop
def test_a_run_that_stays_stopped_ends_at_its_timeout(tmp_path: Path) -> None:
    """The error blames the stop instead of the loader, and the stopped process is ended."""
    before = psutil.Process().children(recursive=True)
    with pytest.raises(MeasurementError, match=r"more than 2 s and was ended; a process of it was stopped for \d"):
        run_in_fresh_process(job(tmp_path), 2, [sys.executable, "-c", ANSWERS, "stop"])

    assert psutil.Process().children(recursive=True) == before


PARENT = """
import sys, threading, time
from pathlib import Path
from feedline.benchmarks.measuring.process import MeasuringJob, run_in_fresh_process
from feedline.loaders import LoaderSpec
from feedline.prep import MeasurementError
job = MeasuringJob(loader="imagefolder", spec=LoaderSpec(root=Path("none")), seconds=0.1)
def report():
    while threading.active_count() < 3:  # the run is watched from a thread
        time.sleep(0.01)
    print("watched", flush=True)
threading.Thread(target=report).start()
try:
    run_in_fresh_process(job, 3, [sys.executable, "-c", "import time; time.sleep(60)"])
except MeasurementError as error:
    print(type(error).__name__, error)
"""


@needs_stop
def test_a_stop_longer_than_the_timeout_is_no_hang() -> None:
    """Ctrl-Z stops bench with its run. When both go on, the timeout has passed, but not the time of the run."""
    command = [sys.executable, "-P", "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "watched\n"
        time.sleep(0.5)  # it begins to wait for the answer; a stop before that takes nothing of the run's time
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(3.5)  # more than the gap from which the parent counts as stopped, and than the timeout
        os.killpg(process.pid, signal.SIGCONT)
        said, _ = process.communicate(timeout=60)

    assert said.startswith("RunStopped the run was stopped for ")


@pytest.mark.parametrize(("stops", "hangs"), [((), True), ((1,), True), ((90,), False), ((40, 40), False)])
def test_a_run_that_had_its_time_hangs_though_it_was_stopped_for_a_moment(
    stops: tuple[int, ...], hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout of 100 s counts if the run had nine tenths of it."""
    now = 0.0
    monkeypatch.setattr("feedline.benchmarks.measuring.stops._now", lambda: now)
    watch = StopWatch()
    for seconds in (*[float(stop) for stop in stops if stop > 3], *[0.5] * int(2 * (100 - sum(stops)))):
        now += seconds
        watch.look([])

    if hangs:
        watch.check_timeout(100)
    else:
        with pytest.raises(RunStopped):
            watch.check_timeout(100)


@pytest.mark.measures
def test_a_stack_dump_does_not_depend_on_the_time_of_day(jumping: Path, tmp_path: Path) -> None:
    """A clock that jumps by a day neither dumps at once nor never."""
    with pytest.raises(MeasurementError, match="more than 4 s and was ended in waits_for_ever"):
        run_in_fresh_process(job(tmp_path), 4, [sys.executable, "-c", STUCK, stacks.__file__])


@pytest.mark.measures
@pytest.mark.slow
def test_a_clock_that_jumps_does_not_change_a_rate(jumping: Path, root: Path, tmp_path: Path) -> None:
    """Every period of a real run fits into the time that passed by the monotonic clock."""
    plan = Plan(root=root, loaders=("threaded",), workers=(1,), repeats=1, seconds=0.3, image_size=32)
    began = time.monotonic()
    record = bench(plan, tmp_path / "bench").records[0]
    passed, run = time.monotonic() - began, record.measurement
    seconds = [*(window.seconds for window in (*run.warmup, *run.windows)), run.first_batch_seconds]

    assert 0.3 <= sum(window.seconds for window in run.windows) < passed
    assert all(0 < value < passed for value in seconds) and sum(seconds) < passed


def test_the_first_run_is_announced_before_it_ends(one_image: Path, tmp_path: Path) -> None:
    """A log shows the step while its first run takes minutes."""
    events: list[object] = []

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        events.append("run")
        return run_at(100)

    plan = Plan(root=one_image, loaders=("imagefolder",), workers=(0,), repeats=2)
    bench(plan, tmp_path / "bench", lambda *call: events.append(call) if call[0] == "measure" else None, run)

    assert events == [("measure", 0, 2), "run", ("measure", 1, 2), ("measure", 1, 2), "run", ("measure", 2, 2)]
