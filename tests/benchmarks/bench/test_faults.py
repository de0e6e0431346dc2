"""Runs that hang, disks that fill, foreign directories: one sentence each, and no finished run is lost."""

import json
import sys
from pathlib import Path

import pytest

from feedline.benchmarks import Plan, bench, read_records
from feedline.benchmarks.measuring.process import MeasuringJob, MeasuringRun, run_in_fresh_process
from feedline.benchmarks.measuring.stacks import innermost_frames, stacks_in
from feedline.cli.main import run as feedline
from feedline.loaders import LoaderSpec
from feedline.prep import MeasurementError, OutputError

from ..runs import run_at

STUCK = """
import faulthandler, json, sys, threading, time
print("a library says something", file=sys.stderr)
def waits_for_ever(): time.sleep(60)
def main():
    moment = json.load(sys.stdin)["dump_stacks_at"]
    faulthandler.dump_traceback_later(max(0.05, moment - time.monotonic()), file=sys.stderr)
    threading.Thread(target=waits_for_ever).start()
    time.sleep(60)
main()
"""
REALLY_STUCK = """
import time, feedline.benchmarks.measuring.child as child
def opens_for_ever(name, spec): time.sleep(600)
child.open_loader = opens_for_ever
child.main()
"""


def job(root: Path) -> MeasuringJob:
    return MeasuringJob(loader="imagefolder", spec=LoaderSpec(root=root), seconds=0.1)


@pytest.mark.measures
def test_the_error_for_a_run_that_hangs_names_the_place_of_each_thread(tmp_path: Path) -> None:
    """The main thread is first, with function, file and line; the whole stacks are a note of the error."""
    with pytest.raises(MeasurementError, match="more than 4 s and was ended in main") as caught:
        run_in_fresh_process(job(tmp_path), 4, [sys.executable, "-c", STUCK])

    assert "waits_for_ever (<string>:4)" in str(caught.value)
    assert "a library says something" not in str(caught.value)
    notes = "\n".join(caught.value.__notes__)
    assert notes.count("most recent call first") == 2 and "run" in notes


@pytest.mark.slow
def test_the_error_for_a_loader_that_hangs_names_the_frame_of_feedline(root: Path) -> None:
    """In the real measuring process, the error names the innermost frame and feedline's frame that called it."""
    with pytest.raises(MeasurementError, match=r"ended in opens_for_ever \(<string>:3\), called from _open") as caught:
        run_in_fresh_process(job(root), 20, [sys.executable, "-c", REALLY_STUCK])

    assert "measuring/child.py:" in str(caught.value)


def test_a_run_that_hangs_before_it_has_its_job_has_an_error_of_its_own(tmp_path: Path) -> None:
    """A process that hangs in an import has written no stacks."""
    with pytest.raises(MeasurementError, match=r"before it had opened the loader$"):
        run_in_fresh_process(job(tmp_path), 1, [sys.executable, "-c", "import time; time.sleep(60)"])


def test_many_threads_are_named_briefly() -> None:
    """The error names three places and the number of others; threads in the same place count once."""
    threads = [f'Thread 0x{n:x} (most recent call first):\n  File "/lib/a.py", line {n // 2}, in f' for n in range(12)]
    dump = stacks_in("noise\n" + "\n".join(thread.replace(", in", " in") for thread in threads))

    assert innermost_frames(dump) == "f (lib/a.py:5); f (lib/a.py:4); f (lib/a.py:3); and at 3 more places"
    assert stacks_in("no stack here\n") == "" and innermost_frames("") == ""


@pytest.mark.measures
def test_the_stacks_of_a_hanging_loader_are_written_next_to_the_records(root: Path, tmp_path: Path) -> None:
    """The failure names the file, and the directory still accepts records."""

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        if job.spec.workers == 0:
            return run_at(100)
        return run_in_fresh_process(job, 4, [sys.executable, "-c", STUCK])

    plan = Plan(root=root, loaders=("imagefolder",), workers=(0, 1), repeats=2)
    failure = bench(plan, tmp_path / "bench", run=run).failures[0]
    kept = next((tmp_path / "bench").glob("stacks-of-*"))

    assert kept.name == "stacks-of-imagefolder-w1-b64-warm.txt" and str(kept) in failure.problem
    assert "waits_for_ever" in kept.read_text("utf-8")
    bench(plan, tmp_path / "bench", run=lambda job, timeout: run_at(100))
    assert len(read_records([tmp_path / "bench"])) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_fills_in_mid_run_keeps_the_finished_records(root: Path, tmp_path: Path) -> None:
    """The second record does not fit: the first is complete, no part of the second is left, and the path is named."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    runs: list[MeasuringJob] = []

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        runs.append(job)
        if len(runs) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
        return run_at(100)

    try:
        with pytest.raises(OutputError, match=r"cannot write .*\.json: File too large \(.* 64 bytes; .*\); make room"):
            bench(Plan(root=root, loaders=("imagefolder",), workers=(0,)), tmp_path / "bench", run=run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(read_records([tmp_path / "bench"])) == 1
    assert len(list((tmp_path / "bench").iterdir())) == 1


def test_a_directory_with_records_of_a_later_schema_is_not_changed(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """bench writes nothing into it, and the report names the schema."""
    out = tmp_path / "bench"
    bench(Plan(root=root, loaders=("imagefolder",), workers=(0,), repeats=1), out, run=lambda job, timeout: run_at(100))
    record = next(out.glob("*.json"))
    record.write_text(json.dumps({**json.loads(record.read_text("utf-8")), "schema": 99}))

    assert feedline(["bench", str(root), "--out", str(out)]) == 1
    assert f"holds {record.name}, which is not a bench record" in capfd.readouterr().err
    assert feedline(["report", str(out), "--out", str(tmp_path / "report.html")]) == 1
    assert "schema 99, and this feedline reads schemas 1 to 2" in capfd.readouterr().err


@pytest.mark.parametrize("sizes", ["", "0", "64,", "64;256", "-1", "many"])
def test_invalid_batch_sizes_are_wrong_usage(sizes: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The exit code is 2, and the error shows the form of a list."""
    assert feedline(["bench", "nowhere", "--out", "out", "--batch-size", sizes]) == 2
    assert "not a list of batch sizes such as 64,256" in capfd.readouterr().err
