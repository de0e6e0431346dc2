"""A whole diagnosis: the verdict names a disk, a decoder or a model that a test made slow."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import simplejpeg

from feedline.benchmarks import Plan, bench
from feedline.benchmarks.diagnose.diagnose import Diagnosis, advice, build_diagnosis, read_diagnosis, write_diagnosis
from feedline.benchmarks.diagnose.diagnosis_runs import DiagnosisPlan, measure_rates
from feedline.benchmarks.measuring.child import measure_job
from feedline.benchmarks.measuring.encodings import Profile, encoding_of, time_encodings
from feedline.benchmarks.measuring.model_step import ModelStep
from feedline.benchmarks.measuring.process import MeasuringJob, MeasuringRun, run_in_fresh_process
from feedline.benchmarks.measuring.stages import time_stages_of
from feedline.cli.main import run as feedline
from feedline.loaders import LoaderSpec
from feedline.loaders.pixels import ready
from feedline.loaders.support.throttle import Throttle
from feedline.prep import SHARDS, MeasurementError, ShardSpec, write_shards

from ..runs import invented_rates, run_at

FAST_STEP = ModelStep(seconds_per_image=0.001)
SLOW = 100  # images/s of the part that is made slow; the others reach five to forty times as much


def in_this_process(throttle: Throttle | None = None) -> Callable[[MeasuringJob, float], MeasuringRun]:
    """Return a runner that measures as a fresh process does, without the seconds to start one."""

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        measurement = measure_job(throttled(job, throttle)).measurement
        assert measurement is not None
        return MeasuringRun(open_seconds=0.0, measurement=measurement, peak_rss_bytes=None)

    return run


def throttled(job: MeasuringJob, throttle: Throttle | None) -> MeasuringJob:
    return replace(job, throttle=throttle) if job.loader == "threaded" else job


def diagnosed(root: Path, step: ModelStep = FAST_STEP, throttle: Throttle | None = None) -> Diagnosis:
    """Diagnose ``threaded`` with two threads on small images, in this process."""
    plan = DiagnosisPlan(
        root=root, step=step, loaders=("threaded",), workers=(2,), batch_size=8, image_size=64, seconds=0.3, repeats=1
    )

    def profile(job: MeasuringJob, timeout: float) -> Profile:
        stages = time_stages_of(job.loader, job.spec, throttle)
        return Profile(as_is=stages, encode="restart", encodings={})

    return build_diagnosis(plan, measure_rates(plan, run=in_this_process(throttle), profile=profile))


def slow_disk(root: Path) -> Throttle:
    images = [path.stat().st_size for path in (root / "train").glob("*/*")]
    return Throttle(bytes_per_second=SLOW * sum(images) / len(images))


@pytest.fixture
def slow_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave decoding to libjpeg-turbo and make it take 20 ms per image, so that two threads decode 100 images/s."""
    decode = simplejpeg.decode_jpeg

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(2 / SLOW)
        return decode(*arguments, **options)

    monkeypatch.setattr(simplejpeg, "decode_jpeg", slow)
    monkeypatch.setattr(ready, "usable", lambda: False)


@pytest.mark.measures
@pytest.mark.slow
def test_a_slow_disk_is_named_five_times_out_of_five(root: Path) -> None:
    """Reads are limited to 100 images/s; decoding and the model are much faster."""
    verdicts = [diagnosed(root, throttle=slow_disk(root)).verdict.name for _ in range(5)]

    assert verdicts == ["fetch-bound"] * 5


@pytest.mark.measures
@pytest.mark.slow
@pytest.mark.usefixtures("slow_decoder")
def test_a_slow_decoder_is_named_five_times_out_of_five(root: Path) -> None:
    """The decoder takes 20 ms per image and reads from memory."""
    verdicts = [diagnosed(root).verdict.name for _ in range(5)]

    assert verdicts == ["decode-bound"] * 5


@pytest.mark.measures
@pytest.mark.slow
def test_a_slow_model_is_named_five_times_out_of_five(root: Path) -> None:
    """The model takes 20 ms per image; the loader is much faster."""
    verdicts = [diagnosed(root, step=ModelStep(seconds_per_image=2 / SLOW)).verdict.name for _ in range(5)]

    assert verdicts == ["compute-bound"] * 5


@pytest.mark.measures
@pytest.mark.slow
def test_the_command_diagnoses_in_fresh_processes(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command writes one JSON object to stdout, tables to stderr, and a document that reads back."""
    arguments = ["--loader", "threaded", "--workers", "1,2", "--batch-size", "8", "--image-size", "64"]
    arguments += ["--seconds", "0.2", "--repeats", "1", "--step-ms", "160", "--out", str(tmp_path / "out"), "--json"]

    assert feedline(["diagnose", str(root), *arguments]) == 0
    stdout, stderr = capfd.readouterr()
    answer = json.loads(stdout)
    found = read_diagnosis(tmp_path / "out" / "diagnosis.json")

    assert (answer["verdict"], answer["recommended"]["loader"]) == ("compute-bound", "threaded")
    assert answer["recommended"]["workers"] in (1, 2)
    assert {"model", "warm", "cold", "together", "split", "curve"} <= answer["measured"].keys()
    assert {"fetch", "decode", "transform", "collate", "transfer", "step"} <= answer["measured"]["split"].keys()
    assert {row["disk"] for row in answer["what_if"]} >= {"HDD", "NVMe SSD", "object store"}
    assert {row["encode"] for row in answer["what_if"]} == {"copy", "restart", "resize", "raw"}
    assert all(row["epoch_seconds"] == pytest.approx(1_281_167 / row["images_per_second"]) for row in answer["what_if"])
    assert found.verdict.name == "compute-bound" and len(found.runs) == 6 - (found.cold is None)
    assert "compute-bound: the model is slower" in stderr and "HDD" in stderr and "feedline train" in stderr


@pytest.mark.measures
@pytest.mark.slow
def test_a_real_training_step_can_be_the_model(root: Path) -> None:
    """The steps of ResNet-18 on the CPU at 32 pixels are real, and they are timed."""
    job = MeasuringJob(
        loader="cached",
        spec=LoaderSpec(root=root, batch_size=8, image_size=32),
        seconds=0.2,
        step=ModelStep(model="resnet18"),
    )
    with_model = run_in_fresh_process(job, 300).measurement.images_per_second
    without = run_in_fresh_process(replace(job, step=None), 300).measurement.images_per_second

    assert 1 < with_model < without / 10


@pytest.mark.parametrize("loader", ["threaded", "imagefolder", "webdataset"])
def test_every_stage_of_a_loader_takes_time_and_reads_the_real_bytes(root: Path, loader: str) -> None:
    """Fetch, decode, transform and collate take time; without a GPU nothing is transferred."""
    spec = LoaderSpec(root=root, batch_size=8, image_size=32)
    found = time_stages_of(loader, spec)

    assert found.parts.pop("transfer") == 0
    assert list(found.parts) == ["fetch", "decode", "transform", "collate"] and min(found.parts.values()) > 0
    assert len(found.sizes) == len(found.work_seconds) > 0 and min(found.sizes) > 100


@pytest.mark.measures
def test_a_throttled_fetch_is_seen_in_the_split(root: Path) -> None:
    """At 100 images/s an image takes 10 ms to fetch, and fetching takes most of the time."""
    spec = LoaderSpec(root=root, batch_size=8, image_size=32)
    found = time_stages_of("threaded", spec, slow_disk(root))

    assert found.parts["fetch"] > 5 and found.fetch_share > 0.5


@pytest.mark.measures
def test_smaller_images_are_smaller_and_markers_cost_little(root: Path) -> None:
    """Resized images have fewer bytes; restart markers add a few percent."""
    found = time_encodings("threaded", LoaderSpec(root=root, batch_size=8, image_size=32))

    assert list(found) == ["copy", "restart", "resize", "raw"]
    assert found["raw"].mean_work < found["copy"].mean_work
    assert found["restart"].bytes_per_image == pytest.approx(found["copy"].bytes_per_image, rel=0.1)
    assert found["resize"].bytes_per_image < found["restart"].bytes_per_image


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere"], 1, "nowhere"),
        (["nowhere", "--loader", "cached"], 2, "no loader 'cached' to train with"),
        (["nowhere", "--gpu", "gtx"], 2, "no GPU 'gtx' in the table; choose one of: h100"),
        (["nowhere", "--model", "resnet9"], 2, "unknown model 'resnet9'"),
        (["nowhere", "--model", "resnet18", "--step-ms", "3"], 2, "--model, --step-ms and --gpu exclude each other"),
        (["nowhere", "--step-ms", "0"], 2, "step-ms"),
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: list[str], code: int, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error has the thing and its value, and the exit code distinguishes usage from data."""
    assert feedline(["diagnose", *arguments]) == code
    stderr = capfd.readouterr().err
    assert sentence in " ".join(stderr.split()) and "Traceback" not in stderr


def test_a_file_that_is_no_diagnosis_is_one_sentence(tmp_path: Path) -> None:
    """Foreign JSON is rejected by name, with the command that makes a diagnosis."""
    (tmp_path / "diagnosis.json").write_text('{"format": "feedline-bench"}')

    with pytest.raises(MeasurementError, match="feedline diagnose ROOT"):
        read_diagnosis(tmp_path / "diagnosis.json")


def found_by_hand(root: Path, problem: str = "") -> Diagnosis:
    """Return a diagnosis of invented runs, in which the decoder has half the model's speed."""
    plan = DiagnosisPlan(root=root, step=FAST_STEP)
    return build_diagnosis(plan, invented_rates(problem), command=("feedline", "diagnose", str(root)))


def test_a_diagnosis_follows_from_the_rates_and_reads_back(tmp_path: Path) -> None:
    """Verdict, gain, break-even and advice are known; the document reads back as it was written."""
    found = found_by_hand(tmp_path)
    write_diagnosis(tmp_path / "out", found)

    assert found.verdict.name == "decode-bound" and (found.loader, found.workers) == ("threaded", 2)
    assert (found.gain.loader, found.gain.before, found.gain.after) == ("imagefolder", 500, 1000)
    assert found.enough_workers is None and found.break_even.model_images_per_second == 1000
    smaller = "Make decoding 4.00 times cheaper with smaller images, and check the accuracy: feedline shard"
    assert any(step.startswith(smaller) and step.endswith("--encode resize") for step in advice(found))
    assert read_diagnosis(tmp_path / "out" / "diagnosis.json") == found


def test_shards_of_pixels_are_profiled_as_they_are(root: Path, tmp_path: Path) -> None:
    """At their own size; nothing but smaller images can be made of them."""
    write_shards(root, ShardSpec(encode="raw", short_side=20), out=tmp_path / SHARDS)
    spec = LoaderSpec(root=tmp_path, batch_size=8, image_size=32)
    found = time_encodings("threaded", spec)

    assert list(found) == ["resize", "raw"]
    assert encoding_of("threaded", spec) == "raw"
    assert 128 + 3 * 20 * 20 <= found["raw"].bytes_per_image < 128 + 3 * 20 * 60


def test_the_report_begins_with_the_diagnosis_among_its_records(root: Path, tmp_path: Path) -> None:
    """The verdict is the only h1; tables of runs, stages and disks follow; all text is escaped."""
    out = tmp_path / "bench"
    write_diagnosis(out, found_by_hand(root, problem="<script>alert(1)</script>"))
    bench(Plan(root=root, loaders=("threaded",), workers=(1,), repeats=1), out, run=lambda job, timeout: run_at(100))

    assert feedline(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")

    assert page.count("<h1>") == 1 and "<h1>decode-bound: the loader is slower than the model" in page
    assert page.index("decode-bound") < page.index("<h2>Throughput")
    assert all(word in page for word in ("object store", "transform", "Training images/s", "free memory"))
    assert "<script>" not in page and "&lt;script&gt;" in page
