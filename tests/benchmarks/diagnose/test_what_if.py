"""The what-if: known loads on known disks have known rates, and a throttle behaves as the prediction assumes."""

import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from feedline.benchmarks.claims.prediction_check import check, tabulate_check
from feedline.benchmarks.diagnose.hardware import DISKS, GPUS, Disk
from feedline.benchmarks.diagnose.storage_model import Load, predict
from feedline.benchmarks.diagnose.what_if import IMAGENET, what_ifs
from feedline.benchmarks.measuring.encodings import Profile
from feedline.benchmarks.measuring.process import MeasuringJob, run_in_fresh_process
from feedline.benchmarks.measuring.stages import StageTimes
from feedline.loaders import LoaderSpec
from feedline.loaders.support.encoded import EncodedImage
from feedline.loaders.support.samples import open_samples
from feedline.loaders.support.throttle import Throttle, ThrottledSamples
from feedline.prep import LoaderError, MeasurementError, SyntheticSpec, prepare_imagenet, write_synthetic

UNLIMITED = Disk(name="none", bytes_per_second=math.inf, waiting_seconds=0.0, request_bytes=math.inf, source="an ideal")


def load(workers: int = 4, rate: float = 1000.0, size: float = 100_000.0, sequential: bool = False) -> Load:
    """Return a load of equal images whose threads do not slow each other down."""
    rates = {count: rate * count / workers for count in range(1, workers + 1)}
    return Load(sizes=(size,), work_seconds=(1.0,), rates=rates, workers=workers, sequential=sequential)


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        (UNLIMITED, 1000),  # only the work
        (replace(UNLIMITED, bytes_per_second=20e6), 200),  # the link: 20 MB/s, 100 kB per image
        (replace(UNLIMITED, waiting_seconds=0.016), 200),  # four threads, 4 ms of work and 16 ms of waiting
        (replace(UNLIMITED, moving_seconds=0.01), 100),  # one head, 10 ms per image
        (replace(UNLIMITED, moving_seconds=0.01, request_bytes=60e3), 50),  # and two requests per image
        (replace(UNLIMITED, request_bytes_per_second=1e6), 4 / 0.104),  # each request alone takes 100 ms
    ],
)
def test_the_rate_under_one_limit_is_predicted_exactly(disk: Disk, expected: float) -> None:
    """With four threads and 4 ms of work each, the limits are work, link, latency, head and requests."""
    assert predict(load(), disk) == pytest.approx(expected, rel=0.01)


def test_read_ahead_hides_latency_but_not_bandwidth() -> None:
    """A stream of shards does not wait for requests, but the link limits it in the same way."""
    assert predict(load(sequential=True), replace(UNLIMITED, waiting_seconds=0.016)) == pytest.approx(1000, rel=0.01)
    assert predict(load(sequential=True), replace(UNLIMITED, bytes_per_second=20e6)) == pytest.approx(200, rel=0.01)


def test_threads_that_wait_do_not_use_the_cpus() -> None:
    """Two threads on one CPU are as fast as one, unless both wait half of the time and take turns."""
    two = Load(sizes=(1.0,) * 3, work_seconds=(0.5, 1.0, 1.5), rates={1: 1000, 2: 1000}, workers=2)
    waiting = replace(UNLIMITED, waiting_seconds=0.001)

    assert predict(two, UNLIMITED) == pytest.approx(1000, rel=0.01)
    assert predict(replace(two, workers=1), waiting) == pytest.approx(500, rel=0.01)
    assert predict(two, waiting) > 650


def test_the_rate_without_workers_only_counts_if_one_worker_was_not_measured() -> None:
    """If one worker was measured, its rate is used; otherwise the rate without workers is."""
    assert replace(load(workers=1), rates={0: 400.0, 1: 800.0}).rate(1) == 800
    assert replace(load(workers=2), rates={0: 400.0, 2: 900.0}).rate(1) == 400


SIZES = st.lists(st.tuples(st.floats(1e3, 1e6), st.floats(1e-4, 1e-2)), min_size=1, max_size=20)


@settings(deadline=None, max_examples=50)
@given(SIZES, st.integers(1, 8), st.floats(1e6, 1e10), st.floats(0, 0.1), st.floats(0, 0.01))
def test_no_prediction_beats_the_link_the_latency_or_the_loader(
    images: list[tuple[float, float]], workers: int, bandwidth: float, waiting: float, moving: float
) -> None:
    """Each limit holds in every combination, within the noise of 2,000 images."""
    sizes, work = zip(*images, strict=True)
    rates = {count: 500.0 * count for count in range(1, workers + 1)}
    disk = replace(UNLIMITED, bytes_per_second=bandwidth, waiting_seconds=waiting, moving_seconds=moving)
    found = predict(Load(sizes=sizes, work_seconds=work, rates=rates, workers=workers), disk)
    service = moving + sum(sizes) / len(sizes) / bandwidth

    assert 0 < found <= 1.1 * min(rates[workers], 1 / service, workers / (waiting + service + 0.002))


@pytest.mark.parametrize("disk", DISKS, ids=lambda disk: disk.name)
def test_every_disk_of_the_table_has_a_source(disk: Disk) -> None:
    """The source marks the assumptions, and a faster link never makes a disk slower."""
    faster = replace(disk, bytes_per_second=2 * disk.bytes_per_second)

    assert len(disk.source) > 10 and ("assumed" in disk.source or "as 1 Gb" in disk.source)
    assert predict(load(), faster) >= 0.99 * predict(load(), disk)


def test_every_gpu_of_the_table_has_a_source_and_a_rate() -> None:
    """MLPerf's H100 takes a batch of 400 in 0.224 s."""
    assert GPUS["h100"].images_per_second == pytest.approx(1785.7, rel=1e-4)
    assert all(gpu.source and gpu.images_per_second > 100 for gpu in GPUS.values())


def stages(size: int, work: float) -> StageTimes:
    parts = {"fetch": 0.01, "decode": 1000 * work, "transform": 0.0, "collate": 0.0, "transfer": 0.0}
    return StageTimes(loader="threaded", parts=parts, sizes=(size,) * 8, work_seconds=(work,) * 8)


PROFILE = Profile(
    as_is=stages(100_000, 0.001),
    encode="restart",
    encodings={"copy": stages(99_000, 0.002), "restart": stages(100_000, 0.001), "resize": stages(25_000, 0.0005)},
)


def test_encodings_differ_by_their_bytes_and_by_their_work() -> None:
    """Resized images are four times as fast on a slow link, and twice as fast if decoding is the limit."""
    found = {(row.disk, row.encode): row for row in what_ifs(PROFILE, {1: 600, 2: 1000}, 2)}
    slow, fast = ("1 Gb network", "NVMe SSD")

    assert found[slow, "resize"].bytes_per_image == pytest.approx(25_000)
    assert found["HDD", "resize"].images_per_second == pytest.approx(found["HDD", "restart"].images_per_second, rel=0.1)
    assert found[fast, "copy"].images_per_second < 0.6 * found[fast, "restart"].images_per_second
    assert found[fast, "resize"].images_per_second > 1.5 * found[fast, "restart"].images_per_second


def test_a_slow_model_hides_a_slow_disk() -> None:
    """A model of 20 images/s takes 17.8 hours for ImageNet on every disk that is faster."""
    rows = what_ifs(PROFILE, {2: 1000}, 2, model=20.0)

    assert {round(row.images_per_second) for row in rows if row.disk not in ("HDD", "object store")} == {20}
    assert all(row.epoch_seconds == pytest.approx(IMAGENET / row.images_per_second) for row in rows)


@pytest.mark.measures
def test_a_throttle_moves_the_bytes_of_all_threads_at_its_rate(root: Path) -> None:
    """Eight threads together get the bandwidth of one, because they share the link."""
    samples = open_samples(root, "train")
    images = range(40)
    total = sum(len(samples.read(index).data) for index in images)
    slow = ThrottledSamples(samples, Throttle(bytes_per_second=total / 0.4))
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(slow.read, images))

    assert time.perf_counter() - began >= 0.4
    np.testing.assert_array_equal(slow.labels, samples.labels)
    assert slow.name(0) == samples.name(0) and isinstance(slow.read(0), EncodedImage)


@pytest.mark.measures
def test_requests_wait_at_the_same_time(root: Path) -> None:
    """Eight requests of 1 s from eight threads take much less than the 8 s of one thread."""
    slow = ThrottledSamples(open_samples(root, "train"), Throttle(bytes_per_second=1e12, seconds_per_request=1.0))
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(slow.read, range(8)))

    assert 1 <= time.perf_counter() - began < 7


@pytest.mark.parametrize("values", [(0.0, 0.0), (-1.0, 0.0), (1.0, -0.1), (math.nan, 0.0)])
def test_an_invalid_throttle_is_rejected(values: tuple[float, float]) -> None:
    """A throttle needs a positive bandwidth and no negative time."""
    with pytest.raises(LoaderError, match="a throttle needs"):
        Throttle(bytes_per_second=values[0], seconds_per_request=values[1])


def test_only_threaded_can_be_throttled(root: Path) -> None:
    """The other loaders' libraries read files themselves, so a throttle would have no effect."""
    job = MeasuringJob(
        loader="imagefolder", spec=LoaderSpec(root=root), seconds=0.1, throttle=Throttle(bytes_per_second=1e6)
    )

    with pytest.raises(MeasurementError, match="only threaded can be throttled"):
        run_in_fresh_process(job, 60)


SLOW_DECODER = """
import time, simplejpeg
decode = simplejpeg.decode_jpeg
def slow(*arguments, **options):
    time.sleep(0.004)
    return decode(*arguments, **options)
simplejpeg.decode_jpeg = slow
from feedline.loaders.pixels import ready
ready.usable = lambda: False  # so that simplejpeg decodes, and not the compiled decoder
from feedline.benchmarks.measuring.child import main
main()
"""


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return class folders of 600 small images: threads run out of work at the end of an epoch, so it must be long."""
    layout = SyntheticSpec(layout="ilsvrc2012", classes=2, images_per_class=300, seed=2, scale=0.1)
    write_synthetic(tmp_path / "archives", layout)
    prepare_imagenet([tmp_path / "archives"], tmp_path / "many")
    return tmp_path / "many"


@pytest.mark.measures
@pytest.mark.slow
def test_the_check_finds_the_prediction_near_where_no_cpu_is_short(many: Path) -> None:
    """Threads that sleep in their decoder need no CPU, so only the disk limits them. (10 % needs an idle machine.)"""
    spec = LoaderSpec(root=many, batch_size=32, image_size=32, workers=4)
    found = check(spec, seconds=1.5, repeats=1, command=[sys.executable, "-c", SLOW_DECODER])

    assert len(found.conditions) == 4 and len(tabulate_check(found).splitlines()) == 6
    assert [round(condition.error, 2) for condition in found.conditions if abs(condition.error) > 0.5] == []


@pytest.mark.slow
def test_the_command_checks_the_prediction_and_keeps_the_record(root: Path, tmp_path: Path) -> None:
    """The document and the table have the prediction, the measured rate and the error of each condition."""
    words = ["--out", str(tmp_path / "check.json"), "--workers", "1", "--batch-size", "8", "--image-size", "32"]
    command = [
        sys.executable,
        "-m",
        "feedline.benchmarks.claims.prediction_check",
        str(root),
        *words,
        "--seconds",
        "0.2",
    ]
    done = subprocess.run([*command, "--repeats", "1"], capture_output=True, text=True, check=True)
    record = json.loads((tmp_path / "check.json").read_text())

    assert "| predicted, images/s | measured |" in done.stdout
    assert record["format"] == "feedline-what-if-check" and len(record["conditions"]) == 4
    assert all(row["predicted"] > 0 and row["measured"]["images_per_second"] > 0 for row in record["conditions"])
