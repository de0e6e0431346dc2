"""The bench: known loaders give known rates, wrong work gives an error, and no finished run is lost."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from feedline.benchmarks import Expected, Measurement, Plan, bench, measure, read_records
from feedline.benchmarks.measuring.process import MeasuringJob, MeasuringRun, run_in_fresh_process
from feedline.cli.main import run as feedline
from feedline.loaders import Batch, LoaderSpec
from feedline.prep import MeasurementError, OutputError

from ..runs import run_at

PER_CLASS = 6


class FakeLoader:
    """Two classes of 6 samples, 4 in a batch; the fake clock runs 1 s per epoch start and 0.5 s per batch."""

    def __init__(self, indexes: list[list[int]] | None = None, size: int = 8, wrong_label: bool = False) -> None:
        self.now = 0.0
        self._batches = indexes or [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        self._size = size
        self._wrong = int(wrong_label)

    def set_epoch(self, epoch: int) -> None:
        self.now += 1.0

    def __iter__(self) -> Iterator[Batch]:
        for indexes in self._batches:
            self.now += 0.5
            images = torch.zeros(len(indexes), 3, self._size, self._size, dtype=torch.uint8)
            labels = torch.tensor([index // PER_CLASS for index in indexes]) + self._wrong
            yield Batch(images.contiguous(memory_format=torch.channels_last), labels, torch.tensor(indexes))

    def clock(self) -> float:
        return self.now


def expected(replays: bool = False) -> Expected:
    classes = np.repeat(np.arange(2, dtype=np.int64), PER_CLASS)
    return Expected(classes=classes, samples=12, image_size=8, replays=replays)


def measured(loader: FakeLoader, seconds: float = 30.0, replays: bool = False) -> Measurement:
    return measure(loader, expected(replays), seconds, clock=loader.clock)


def test_a_known_loader_gives_its_known_rate() -> None:
    """12 samples in 1 s + 3 x 0.5 s are 4.8 images/s, epoch starts included."""
    assert measured(FakeLoader()).images_per_second == pytest.approx(12 / 2.5, rel=0.05)


def test_the_first_batch_is_not_part_of_the_windows() -> None:
    """1 s to start the epoch and 0.5 s to make a batch precede all windows."""
    result = measured(FakeLoader())

    assert result.first_batch_seconds == 1.5
    assert result.samples_seen == 4 + sum(w.samples for w in (*result.warmup, *result.windows))


def test_warm_up_and_windows_last_as_long_as_requested() -> None:
    """The warm-up takes a third of the requested time; windows fill that time, each at least a tenth of it."""
    result = measured(FakeLoader())

    assert 10 <= sum(window.seconds for window in result.warmup) <= 14
    assert 30 <= sum(window.seconds for window in result.windows) <= 34
    assert min(window.seconds for window in result.windows) >= 3


def test_epoch_starts_inside_the_windows_are_also_stored_separately() -> None:
    """Each start of an epoch takes 1 s, and the first batch 0.5 s."""
    gaps = measured(FakeLoader()).gap_seconds

    assert 11 <= len(gaps) <= 14 and set(gaps) == {1.5}


def test_a_slow_loader_still_fills_three_windows() -> None:
    """One window alone would not show the spread of the rate."""
    assert len(measured(FakeLoader(), seconds=0.1).windows) == 3


@pytest.mark.parametrize(
    ("loader", "complaint"),
    [
        (FakeLoader(indexes=[[0, 1, 2, 3], [0, 1, 2, 3]]), "8 samples, 4 of them different"),
        (FakeLoader(indexes=[[0, 1, 2, 3]]), "instead of 12 different samples"),
        (FakeLoader(indexes=[[0, 1, 2, 12]]), "samples 0 to 12"),
        (FakeLoader(wrong_label=True), "sample 0 as class 1"),
        (FakeLoader(size=9), r"images of \(9, 9\)"),
    ],
)
def test_wrong_work_is_an_error_and_not_a_number(loader: FakeLoader, complaint: str) -> None:
    """The error names repeated, missing, foreign, mislabelled and misshapen samples."""
    with pytest.raises(MeasurementError, match=complaint):
        measured(loader)


def test_a_replaying_loader_need_not_cover_the_epoch_but_its_labels_are_checked() -> None:
    """The ceiling repeats its batches; its labels are checked as for other loaders."""
    again = [[0, 1, 2, 3], [0, 1, 2, 3]]

    assert measured(FakeLoader(indexes=again), replays=True).samples_seen > 0
    with pytest.raises(MeasurementError, match="as class"):
        measured(FakeLoader(indexes=again, wrong_label=True), replays=True)


@pytest.fixture
def plan(one_image: Path) -> Plan:
    """Return a plan for fake runs."""
    return Plan(root=one_image, loaders=("imagefolder", "cached"), workers=(0, 2), repeats=2)


def runner(*rates: float) -> Callable[[MeasuringJob, float], MeasuringRun]:
    """Return a runner whose runs have these rates, one after another; a rate of 0 fails."""
    left = cycle(rates)

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        rate = next(left)
        if rate == 0:
            raise MeasurementError("the disk is on fire")
        return run_at(int(rate))

    return run


def test_runs_are_interleaved_and_turn_round_at_the_end(plan: Plan, tmp_path: Path) -> None:
    """The order reverses for each repeat, so that a drift of the machine affects all alike; cached has no workers."""
    seen: list[tuple[str, int]] = []

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        seen.append((job.loader, job.spec.workers))
        return runner(100)(job, timeout)

    bench(plan, tmp_path / "out", run=run)
    there = [("imagefolder", 0), ("imagefolder", 2), ("cached", 0)]

    assert seen == there + there[::-1]


def test_the_median_the_spread_and_the_share_of_the_ceiling_are_known(plan: Plan, tmp_path: Path) -> None:
    """Runs of 100 and 120 have a median of 110, a spread of 20/110 and a tenth of a ceiling of 1100."""
    rates = iter([100, 300, 1100, 1100, 300, 120])
    result = bench(plan, tmp_path / "out", run=lambda job, timeout: runner(next(rates))(job, timeout))
    rows = {(row.loader, row.workers): row for row in result.table.rows}
    slow = rows["imagefolder", 0]

    assert (slow.images_per_second, slow.lowest, slow.highest, slow.runs) == (110, 100, 120, 2)
    assert (slow.spread, slow.of_ceiling) == (pytest.approx(20 / 110), pytest.approx(0.1))
    assert rows["imagefolder", 2].spread == 0
    assert (slow.h100_au, rows["cached", 0].h100_au) == (pytest.approx(110 * 0.224 / 400), None)


def test_an_h100_trains_at_224_pixels(plan: Plan, tmp_path: Path) -> None:
    """Its published rate says nothing about other images; a faster loader than it takes keeps it at 100 %."""
    fast = bench(replace(plan, repeats=1), tmp_path / "224", run=runner(9000)).table.rows[0]
    small = bench(replace(plan, repeats=1, image_size=64), tmp_path / "64", run=runner(9000)).table.rows[0]

    assert (fast.h100_au, small.h100_au) == (1, None)


def test_the_ceiling_is_never_the_fastest_loader(plan: Plan, tmp_path: Path) -> None:
    """The fastest loader is one that can be trained with."""
    rates = iter([100, 300, 1100, 1100, 300, 100])
    verdict = bench(plan, tmp_path / "out", run=lambda job, _: runner(next(rates))(job, _)).table.verdict

    assert verdict is not None
    assert (verdict.loader, verdict.workers, verdict.inconclusive) == ("imagefolder", 2, False)


def test_a_difference_smaller_than_the_spread_is_inconclusive(plan: Plan, tmp_path: Path) -> None:
    """Medians of 105 and 110 are inconclusive if the runs range from 90 to 120."""
    rates = iter([90, 110, 1100, 1100, 110, 120])
    verdict = bench(plan, tmp_path / "out", run=lambda job, _: runner(next(rates))(job, _)).table.verdict

    assert verdict is not None and verdict.inconclusive
    assert verdict.sentence.startswith("Inconclusive: ") and "--repeats" in verdict.sentence


def test_a_failed_configuration_is_reported_and_the_others_are_kept(plan: Plan, tmp_path: Path) -> None:
    """The failed configuration has one sentence and no second attempt; the others have records."""
    rates = iter([0, 300, 1100, 1100, 300])
    result = bench(plan, tmp_path / "out", run=lambda job, _: runner(next(rates))(job, _))

    assert [(f.loader, f.workers, f.problem) for f in result.failures] == [("imagefolder", 0, "the disk is on fire")]
    assert len(read_records([tmp_path / "out"])) == 4


def test_an_interrupted_bench_keeps_what_was_measured(plan: Plan, tmp_path: Path) -> None:
    """The record of a finished run is written before the next run begins."""
    runs = iter([100.0, 200.0])

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        rate = next(runs, None)
        if rate is None:
            raise KeyboardInterrupt
        return runner(rate)(job, timeout)

    with pytest.raises(KeyboardInterrupt):
        bench(plan, tmp_path / "out", run=run)

    assert [r.measurement.images_per_second for r in read_records([tmp_path / "out"])] == [100, 200]


def test_benches_into_one_directory_add_up(plan: Plan, tmp_path: Path) -> None:
    """A second bench accepts the plot and the records of the first and keeps them."""
    for _ in range(2):
        bench(replace(plan, repeats=1), tmp_path / "out", run=runner(100))

    assert len(read_records([tmp_path / "out"])) == 6


def test_an_output_directory_with_other_files_is_rejected_before_measuring(plan: Plan, tmp_path: Path) -> None:
    """Nothing is measured or changed, and the error names the other file."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.jpg").write_bytes(b"")

    with pytest.raises(OutputError, match=r"holiday\.jpg"):
        bench(plan, tmp_path / "out", run=lambda job, timeout: pytest.fail("measured"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["holiday.jpg"]


def job(root: Path) -> MeasuringJob:
    return MeasuringJob(loader="imagefolder", spec=LoaderSpec(root=root), seconds=0.1)


def test_the_error_for_a_process_that_dies_has_its_last_line(tmp_path: Path) -> None:
    """The error has the exit code and the last line of stderr, without a traceback."""
    dying = [sys.executable, "-c", "import os, sys; print('out of luck', file=sys.stderr, flush=True); os._exit(3)"]

    with pytest.raises(MeasurementError, match=r"exit code 3: out of luck$"):
        run_in_fresh_process(job(tmp_path), 30, dying)


def test_a_process_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """After the timeout, the process and the worker that it started are ended."""
    script = (
        "import pathlib, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    with pytest.raises(MeasurementError, match="more than 3 s"):
        run_in_fresh_process(job(tmp_path), 3, [sys.executable, "-c", script])
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_alive(pid):
        time.sleep(0.05)

    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


QUICK = ("--workers", "0,1", "--seconds", "0.2", "--repeats", "1", "--batch-size", "8", "--image-size", "32")


@pytest.mark.slow
def test_the_command_measures_every_loader_on_real_images(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command writes JSON to stdout, the table to stderr, a record for each run, and a plot."""
    out = tmp_path / "bench"

    assert feedline(["bench", str(root), *QUICK, "--out", str(out), "--json"]) == 0
    stdout, stderr = capfd.readouterr()
    answer = json.loads(stdout)
    measured = {(row["loader"], row["workers"]) for row in answer["results"]}

    assert {("imagefolder", 0), ("imagefolder", 1), ("webdataset", 1), ("cached", 0)} <= measured
    cache = "warm" if sys.platform == "linux" else "unknown"  # other systems cannot check
    assert all(row["images_per_second"] > 0 and row["cache"] == cache for row in answer["results"])
    assert answer["fastest"]["loader"] != "cached" and answer["failures"] == []
    assert "imagefolder" in stderr and "feedline report" in stderr
    assert (out / "throughput.png").read_bytes().startswith(b"\x89PNG")
    records = read_records([out])
    assert len(records) == len(measured)
    assert all((r.peak_rss_bytes or 0) > 50 * 2**20 for r in records)


@pytest.mark.slow
def test_a_loader_that_fails_on_damaged_data_does_not_affect_the_others(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, with one sentence for the loader that read the damaged image; the shards are measured."""
    data = tmp_path / "data"
    shutil.copytree(root, data)
    for image in (data / "train").glob("*/*"):
        image.write_bytes(b"no JPEG")
    loaders = ["--loader", "imagefolder", "--loader", "webdataset"]
    code = feedline(["bench", str(data), *loaders, *QUICK, "--out", str(tmp_path / "bench"), "--json"])
    stdout, stderr = capfd.readouterr()

    assert code == 1
    assert {row["loader"] for row in json.loads(stdout)["results"]} == {"webdataset"}
    assert (
        "imagefolder with --workers 0 --batch-size 8 --cache warm could not be measured" in stderr
        and "Traceback" not in stderr
    )
    assert {record.loader for record in read_records([tmp_path / "bench"])} == {"webdataset"}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere", "--out", "out"], 1, "nowhere"),
        (["nowhere", "--out", "out", "--loader", "dally"], 2, "there is no loader 'dally'"),
        (["nowhere", "--out", "out", "--workers", "0,-1"], 2, "not a list of worker counts"),
        (["nowhere", "--out", "out", "--seconds", "0"], 2, "seconds"),
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: list[str], code: int, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error has the thing and its value, and the exit code distinguishes usage from data."""
    assert feedline(["bench", *arguments]) == code
    stderr = capfd.readouterr().err
    assert sentence in stderr and "Traceback" not in stderr


def test_a_measuring_process_imports_no_plotting_and_no_trainer() -> None:
    """Unnecessary imports would add to the measured time and memory."""
    script = "import sys, feedline.benchmarks.measuring.child; print(*sys.modules)"
    modules = set(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split())

    assert "feedline.benchmarks.measuring.measure" in modules
    assert not {"matplotlib", "jinja2", "tensorboard", "torchvision", "feedline.train"} & modules
