"""Cold runs: no sample is read twice, the state is made just before each run, and complaints name the limits."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from feedline.benchmarks import (
    Expected,
    Measurement,
    Plan,
    Record,
    Window,
    bench,
    complaints,
    files_read,
    measure,
    read_records,
    resident_fraction,
    tabulate,
)
from feedline.benchmarks.machine.cache import LEAST_WARM, MOST_COLD
from feedline.benchmarks.machine.process_usage import BytesRead
from feedline.benchmarks.measuring.process import MeasuringJob, MeasuringRun
from feedline.benchmarks.results.ranking import cold_and_warm
from feedline.cli.main import run as feedline
from feedline.loaders import Batch
from feedline.prep import MeasurementError

from ..runs import run_at

SAMPLES, BATCH = 40, 4


class FakeLoader:
    """40 samples, 4 in a batch; the fake clock runs 1 s per epoch start and 0.5 s per batch: 5.5 s in all."""

    def __init__(self) -> None:
        self.now = 0.0
        self.epochs: list[int] = []
        self.disk = 0

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)
        self.now += 1.0

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, SAMPLES, BATCH):
            self.now += 0.5
            self.disk += BATCH * 1000
            images = torch.zeros(BATCH, 3, 8, 8, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
            yield Batch(images, torch.zeros(BATCH, dtype=torch.int64), torch.arange(start, start + BATCH))

    def clock(self) -> float:
        return self.now

    def bytes_read(self) -> BytesRead:
        return BytesRead(disk=self.disk, calls=self.disk)


def measured(loader: FakeLoader, seconds: float) -> Measurement:
    expected = Expected(classes=np.zeros(SAMPLES, np.int64), samples=SAMPLES, image_size=8)
    return measure(loader, expected, seconds, one_epoch=True, clock=loader.clock, bytes_read=loader.bytes_read)


def test_a_cold_run_ends_with_its_first_epoch() -> None:
    """No sample comes twice, however many seconds are requested."""
    loader = FakeLoader()
    result = measured(loader, seconds=20)

    assert loader.epochs == [0]
    assert result.samples_seen == SAMPLES and result.gap_seconds == ()


def test_the_windows_of_a_cold_run_begin_after_the_first_batch_and_one_window() -> None:
    """One batch is first, then a warm-up of 1 s with 2 batches, then 7 batches in windows of 1 s; the last is short."""
    result = measured(FakeLoader(), seconds=10)

    assert result.first_batch_seconds == 1.5
    assert result.warmup == (Window(seconds=1.0, samples=8),)
    assert result.windows == (*(Window(seconds=1.0, samples=8),) * 3, Window(seconds=0.5, samples=4))
    assert result.images_per_second == 8
    assert result.whole_images_per_second == SAMPLES / 6


def test_nothing_counts_until_the_data_are_near() -> None:
    """At 3.5 s of the clock the warm-up has had two windows."""
    loader = FakeLoader()
    expected = Expected(classes=np.zeros(SAMPLES, np.int64), samples=SAMPLES, image_size=8)
    settled = lambda: loader.now >= 3.5  # noqa: E731
    result = measure(loader, expected, 10, one_epoch=True, settled=settled, clock=loader.clock)

    assert result.warmup == (Window(seconds=1.0, samples=8),) * 2
    assert result.windows == (*(Window(seconds=1.0, samples=8),) * 2, Window(seconds=0.5, samples=4))


def test_a_cold_run_of_many_images_ends_after_the_seconds() -> None:
    """The epoch is closed early, as in a warm run."""
    result = measured(FakeLoader(), seconds=2.0)

    assert sum(window.seconds for window in result.windows) == 2.0
    assert result.samples_seen < SAMPLES


def test_an_epoch_over_before_the_first_window_is_one_sentence() -> None:
    """The error has the number of samples, their time, and a value of --seconds that works."""
    with pytest.raises(MeasurementError, match=r"40 samples ended after 6 s.*--seconds 6$"):
        measured(FakeLoader(), seconds=100)


def test_bytes_are_counted_for_the_whole_run_and_for_the_windows() -> None:
    """40 samples of 1000 bytes are read, 28 of them in the windows."""
    result = measured(FakeLoader(), seconds=10)

    assert result.bytes_read == BytesRead(disk=40_000, calls=40_000)
    assert result.bytes_read_in_windows == BytesRead(disk=28_000, calls=28_000)


def found(rate: int, windows: int = 3, disk: int | None = None, disk_in_windows: int | None = None) -> MeasuringRun:
    """Return a run with windows of 1 s that read ``disk`` bytes."""
    read = None if disk is None else BytesRead(disk=disk, calls=0)
    in_windows = None if disk_in_windows is None else BytesRead(disk=disk_in_windows, calls=0)
    return run_at(rate, windows, bytes_read=read, bytes_read_in_windows=in_windows)


def by_state(warm: int, cold: int) -> Callable[[MeasuringJob, float], MeasuringRun]:
    """Return a runner with one rate for warm runs and another one for cold runs."""
    return lambda job, timeout: (
        found(cold, disk=3000 * cold, disk_in_windows=3000 * cold) if job.one_epoch else found(warm)
    )


BOTH = ("warm", "cold")


def test_every_state_and_batch_size_is_measured_and_the_ceiling_once(root: Path, tmp_path: Path) -> None:
    """The ceiling reads nothing while it is measured, so it has no cold run."""
    jobs: list[tuple[str, int, bool]] = []

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        jobs.append((job.loader, job.spec.batch_size, job.one_epoch))
        return found(100)

    plan = Plan(root=root, loaders=("imagefolder", "cached"), workers=(1,), repeats=1, caches=BOTH, batch_sizes=(8, 16))
    bench(plan, tmp_path / "bench", run=run)

    assert jobs == [
        ("imagefolder", 8, False),
        ("imagefolder", 8, True),
        ("imagefolder", 16, False),
        ("imagefolder", 16, True),
        ("cached", 8, False),
        ("cached", 16, False),
    ]


def on_a_disk(place: Path) -> bool:
    mounts = [m for m in psutil.disk_partitions(all=True) if place.resolve().is_relative_to(m.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype not in ("tmpfs", "ramfs")


def percent(share: float | None) -> float:
    """Round the share to percent, or to 0 or 1 within the limits: a kernel may drop a page of hundreds by itself."""
    assert share is not None
    return round(share, 2) if MOST_COLD < share < LEAST_WARM else round(share)


def test_the_state_is_made_before_each_run_and_recorded(root: Path, tmp_path: Path) -> None:
    """At the start of a cold run mincore reports no page, at the start of a warm run all pages, to the percent."""
    if sys.platform != "linux" or not on_a_disk(root):
        pytest.skip("needs Linux and data on a disk")
    files = files_read(root, "train", ["imagefolder"])
    seen: list[tuple[bool, float]] = []

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        seen.append((job.one_epoch, percent(resident_fraction(files))))
        for path in files:
            path.read_bytes()
        return found(100)

    bench(Plan(root=root, loaders=("imagefolder",), workers=(0,), repeats=2, caches=BOTH), tmp_path / "bench", run=run)
    records = read_records([tmp_path / "bench"])

    assert seen == [(False, 1.0), (True, 0.0), (True, 0.0), (False, 1.0)]
    residents = [(percent(r.resident_before), percent(r.resident_after)) for r in records]
    assert [(r.cache, r.cache_asked, *shares) for r, shares in zip(records, residents, strict=True)] == [
        ("warm", "warm", 1.0, 1.0),
        ("cold", "cold", 0.0, 1.0),
        ("cold", "cold", 0.0, 1.0),
        ("warm", "warm", 1.0, 1.0),
    ]


@pytest.fixture
def records(root: Path, tmp_path: Path) -> list[Record]:
    """Return records at 300 images/s warm and 100 images/s cold, with the requested state as the state."""
    plan = Plan(root=root, loaders=("imagefolder", "webdataset"), workers=(0, 2), repeats=2, caches=BOTH)
    result = bench(plan, tmp_path / "bench", run=by_state(300, 100))
    return [replace(record, cache=record.cache_asked or "unknown") for record in result.records]


def test_cold_and_warm_rows_are_paired(records: list[Record]) -> None:
    """Each pair is one loader with one worker count; the ratio includes the first batch."""
    pairs = cold_and_warm(tabulate(records)[0])

    assert {(pair.cold.loader, pair.cold.workers) for pair in pairs} == {
        (loader, workers) for loader in ("imagefolder", "webdataset") for workers in (0, 2)
    }
    assert all((pair.cold.cache, pair.warm.cache) == ("cold", "warm") for pair in pairs)
    assert pairs[0].ratio == pytest.approx(1 / 3)
    assert pairs[0].cold.disk_bytes_per_image == 1000


def test_the_verdict_is_that_of_the_warm_rows(records: list[Record]) -> None:
    """A cold row does not compete with a warm one; if all rows are cold, the verdict names that state."""
    faster = [
        replace(r, measurement=found(10_000).measurement) if (r.cache, r.loader) == ("cold", "webdataset") else r
        for r in records
    ]
    warm, cold = (tabulate(part)[0].verdict for part in (faster, [r for r in faster if r.cache == "cold"]))

    assert warm is not None and warm.cache == "warm" and "300 images/s" in warm.sentence
    assert cold is not None and (cold.loader, cold.cache) == ("webdataset", "cold") and "(cold)" in cold.sentence


def test_too_few_windows_of_a_cold_run_are_a_complaint(records: list[Record]) -> None:
    """The complaint has the images, the seconds, and a value of --seconds that works."""
    short = [replace(r, measurement=found(100, windows=2).measurement) for r in records if r.cache == "cold"]
    doubts = " ".join(complaints(tabulate(short)[0]))

    assert "84 images are few for a cold run" in doubts and "2 of at least 3 windows" in doubts
    assert "--seconds 3" in doubts


def test_read_ahead_before_the_windows_is_a_complaint(records: list[Record]) -> None:
    """The windows then show the speed of memory; without read-ahead there is no complaint."""
    ahead = found(100, disk=300_000, disk_in_windows=30_000).measurement
    cold = [record for record in records if record.cache == "cold"]

    assert not [doubt for doubt in complaints(tabulate(cold)[0]) if "reads ahead" in doubt]
    doubts = complaints(tabulate([replace(record, measurement=ahead) for record in cold])[0])
    assert [doubt for doubt in doubts if "the windows read 10% of the bytes of their images" in doubt]


def test_a_cold_run_that_could_not_be_confirmed_is_unknown(records: list[Record]) -> None:
    """The row is separate from warm rows, and a complaint names the next step."""
    unknown = [replace(r, cache="unknown") if r.cache == "cold" else r for r in records]
    table = tabulate(unknown)[0]

    assert {row.state for row in table.rows} == {"warm", "cold, unconfirmed"}
    assert any("local disk under Linux" in doubt for doubt in complaints(table))
    assert cold_and_warm(table) == []


@pytest.mark.measures
@pytest.mark.slow
def test_the_command_measures_cold_and_warm(root: Path, tmp_path: Path) -> None:
    """Real processes read real images; a cold run fetches at least half of the images' bytes from the disk."""
    if sys.platform != "linux" or not on_a_disk(root):
        pytest.skip("needs Linux and data on a disk")
    options = ["--workers", "0", "--seconds", "0.05", "--repeats", "1", "--batch-size", "4,8", "--image-size", "32"]
    for cache in ("warm", "both"):  # first, so that no library is read from the disk during runs of a tenth of a second
        command = ["bench", str(root), "--loader", "imagefolder", "--cache", cache, *options]
        assert feedline([*command, "--out", str(tmp_path / cache)]) == 0
    records = read_records([tmp_path / "both"])
    sizes = [path.stat().st_size for path in files_read(root, "train", ["imagefolder"])]
    assert sorted((r.config.batch_size, r.cache) for r in records) == [
        (4, "cold"),
        (4, "warm"),
        (8, "cold"),
        (8, "warm"),
    ]
    for record in records:
        read = record.measurement.bytes_read
        if read is None:
            pytest.skip("this kernel does not count bytes read")
        least = record.measurement.samples_seen / len(sizes) * sum(sizes) / 2
        assert read.disk > least if record.cache == "cold" else read.disk < least
