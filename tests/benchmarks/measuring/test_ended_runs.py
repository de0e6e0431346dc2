"""Measuring runs that are interrupted, killed or orphaned: nothing is left, and a signal is named."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from feedline.benchmarks.faults.sessions import members
from feedline.benchmarks.measuring.process import MeasuringJob, run_in_fresh_process
from feedline.loaders import LoaderSpec
from feedline.prep import MeasurementError
from feedline.prep.processes.parent import runs
from feedline.prep.processes.temporary import LOCK, temporary_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

FEEDLINE = [sys.executable, "-c", "from feedline.cli.main import main; main()"]


def until(happens: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Return a folder for temporary files whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="fl-") as place:
        yield Path(place)


def start(words: list[str], temporary: Path, processes: int) -> "subprocess.Popen[str]":
    """Start a command with a folder of its own for temporary files; return it when it has that many processes."""
    environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*FEEDLINE, *words], stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    until(lambda: len(members(process.pid)) >= processes or process.poll() is not None)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_bench_that_is_ended_leaves_no_process_and_no_folder(
    number: signal.Signals, root: Path, tmp_path: Path, temporary: Path
) -> None:
    """Only the command is signalled: its measuring process and the workers of that end too, even after kill -9."""
    words = ["bench", str(root), "--loader", "imagefolder", "--workers", "2", "--seconds", "120"]
    process = start([*words, "--out", str(tmp_path / "bench")], temporary, processes=4)
    until(lambda: any(temporary.glob("pymp-*")))  # the workers pass batches
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert number == signal.SIGKILL or "feedline: interrupted" in said
    until(lambda: not members(process.pid), seconds=10)
    assert not [path for path in temporary.iterdir() if path.name.startswith(("pymp-", "feedline-"))]


@pytest.mark.slow
def test_ranks_end_with_a_killed_bench(root: Path, tmp_path: Path, temporary: Path) -> None:
    """kill -9 of bench --train: torchrun and both ranks end; the folder that is left has a lock that is free."""
    size = ["--image-size", "32", "--batch-size", "8", "--steps", "1000000", "--stem", "imagenet"]
    words = ["bench", str(root), "--train", "--ranks", "2", "--loader", "cached", *size]
    process = start([*words, "--out", str(tmp_path / "bench")], temporary, processes=2)
    bench = psutil.Process(process.pid)
    try:
        until(lambda: len(bench.children(recursive=True)) >= 3)  # the ranks have sessions of their own
        begun = bench.children(recursive=True)
    finally:
        process.kill()
        process.communicate()
    until(lambda: not any(map(runs, begun)))


def test_a_measuring_process_that_was_killed_is_reported_as_that(tmp_path: Path) -> None:
    """Instead of an exit code of -9."""
    job = MeasuringJob(loader="imagefolder", spec=LoaderSpec(root=tmp_path), seconds=0.1)
    dies = [sys.executable, "-c", "import os, sys; sys.stdin.read(); os.kill(os.getpid(), 9)"]
    with pytest.raises(MeasurementError, match=r"measuring process was killed by SIGKILL.*; use fewer --workers or"):
        run_in_fresh_process(job, 10, dies)


def test_a_measuring_process_whose_parent_is_gone_ends_before_it_measures(tmp_path: Path) -> None:
    """The parent died between the start of the process and its job."""
    job = f'{{"loader": "imagefolder", "spec": {{"root": "{tmp_path}"}}, "seconds": 0.1, "parent": {2**22 - 1}}}'
    command = [sys.executable, "-m", "feedline.benchmarks.measuring.child"]
    done = subprocess.run(command, input=job, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")


def test_folders_of_killed_processes_are_removed_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is in use, one that has no lock yet, and one of another purpose stay."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    abandoned, unlocked, other = (tmp_path / f"feedline-{name}" for name in ("x-1", "x-2", "y-1"))
    for folder in (abandoned, unlocked, other):
        folder.mkdir()
        if folder is not unlocked:
            (folder / LOCK).touch()
        os.utime(folder, (0, 0))
    with temporary_folder("x") as used:
        os.utime(used, (0, 0))
        with temporary_folder("x"):
            assert used.is_dir()
        assert sorted(tmp_path.iterdir()) == sorted([unlocked, other, used])
    assert sorted(tmp_path.iterdir()) == [unlocked, other]
