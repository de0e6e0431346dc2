"""The diagnosis: known numbers give known verdicts, and a disk, decoder or model made slow on purpose is named."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import simplejpeg
from hypothesis import given, strategies as st

from feedline.benchmarks import Measurement, Plan, Window, bench
from feedline.benchmarks.child import answer_to
from feedline.benchmarks.diagnose import Diagnosis, advice, conclude, read_diagnosis, write_diagnosis
from feedline.benchmarks.diagnosis import BALANCED, Evidence, Rate, judge, rate_of, state_that_counts
from feedline.benchmarks.differential import DiagnosisPlan, Findings, measure_all
from feedline.benchmarks.encodings import Profile, time_encodings
from feedline.benchmarks.process import Job, Run, run_in_fresh_process
from feedline.benchmarks.recommend import (
    CurvePoint,
    baseline,
    break_even,
    enough_workers,
    recommend,
    trained,
)
from feedline.benchmarks.stages import StageTimes, time_stages_of
from feedline.benchmarks.steps import Step
from feedline.cli.main import run as feedline
from feedline.loaders import LoaderSpec
from feedline.loaders.throttle import Throttle
from feedline.prep import MeasurementError


def rate(value: float, spread: float = 0.02) -> Rate:
    return Rate(images_per_second=value, lowest=value * (1 - spread / 2), highest=value * (1 + spread / 2))


def evidence(
    model: float = 1000,
    warm: float = 5000,
    cold: float | None = None,
    *,
    fetch_share: float = 0.05,
    spread: float = 0.02,
) -> Evidence:
    """The runs of a machine where loader and model work side by side; a cold rate makes the cold state count."""
    loader = warm if cold is None else cold
    return Evidence(
        model=rate(model, spread),
        warm=rate(warm, spread),
        cold=None if cold is None else rate(cold, spread),
        together=rate(min(model, loader), spread),
        fetch_share=fetch_share,
        state="warm" if cold is None else "cold",
    )


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (evidence(model=1000, warm=5000), "compute-bound"),
        (evidence(model=5000, warm=1000), "decode-bound"),
        (evidence(model=5000, warm=1000, fetch_share=0.8), "fetch-bound"),
        (evidence(model=5000, warm=4000, cold=500), "fetch-bound"),
        (evidence(model=5000, warm=1000, cold=900), "decode-bound"),
        (evidence(model=300, warm=4000, cold=500), "compute-bound"),
        (evidence(model=1000, warm=1050), "balanced"),
        (evidence(model=1050, warm=1000), "balanced"),
        (evidence(model=1000, warm=1100, spread=0.6), "inconclusive"),
        (evidence(model=5000, warm=1000, fetch_share=0.5, spread=0.2), "decode-bound"),
        (evidence(model=1000, warm=5000, spread=0.6), "compute-bound"),
    ],
)
def test_known_numbers_give_known_verdicts(found: Evidence, verdict: str) -> None:
    """Far apart is decided however much it wavers; close together is balanced when quiet, open when noisy."""
    assert judge(found).name == verdict


def test_the_verdict_says_the_numbers_behind_it() -> None:
    """Both rates, the state of the cache, the share of the guilty stage, and how much of the training is lost."""
    verdict = judge(evidence(model=2000, warm=1000))

    assert "1,000 images/s (warm data)" in verdict.sentence and "2,000" in verdict.sentence
    assert verdict.stall == pytest.approx(0.5)
    assert verdict.milliseconds == pytest.approx({"fetch": 0.05, "decode": 0.95, "model": 0.5})


def test_runs_that_contradict_each_other_decide_nothing() -> None:
    """A model that takes 1,000 images/s alone cannot take 2,500 from a loader, where that would be balanced."""
    found = replace(evidence(model=1000, warm=2400), together=rate(2500))

    assert judge(found).name == "inconclusive"
    assert "together, more than one of them alone" in judge(found).sentence


def test_a_contradiction_that_changes_nothing_is_let_pass() -> None:
    """Short runs differ: 110 images/s together where the loader alone had 100 do not excuse the loader."""
    assert judge(replace(evidence(model=1000, warm=100), together=rate(110))).name == "decode-bound"


def test_an_inconclusive_verdict_names_the_candidates_and_the_next_command() -> None:
    """Wavering by 60 %, a loader of 1.1 times the model's speed may be anything."""
    sentence = judge(evidence(model=1000, warm=1100, spread=0.6)).sentence

    assert "60%" in sentence and "compute-bound or decode-bound" in sentence and "--repeats" in sentence


RATES = st.floats(min_value=1, max_value=1e5)
RUNS = st.lists(RATES, min_size=1, max_size=4).map(rate_of)
SHARES = st.floats(min_value=0, max_value=1)


@st.composite
def found_evidence(draw: st.DrawFn) -> Evidence:
    cold = draw(st.none() | RUNS)
    state = "warm" if cold is None else draw(st.sampled_from(["warm", "cold"]))
    return Evidence(
        model=draw(RUNS), warm=draw(RUNS), cold=cold, together=draw(RUNS), fetch_share=draw(SHARES), state=state
    )


def scaled(found: Rate, factor: float) -> Rate:
    return Rate(
        images_per_second=factor * found.images_per_second, lowest=factor * found.lowest, highest=factor * found.highest
    )


@given(found_evidence(), st.integers(min_value=-20, max_value=20))
def test_a_machine_twice_as_fast_in_everything_has_the_same_bottleneck(found: Evidence, power: int) -> None:
    """Scaling all rates leaves the verdict: by powers of two, which floating point does exactly."""
    factor = 2.0**power
    rates = {name: scaled(getattr(found, name), factor) for name in ("model", "warm", "together")}
    other = replace(found, **rates, cold=None if found.cold is None else scaled(found.cold, factor))

    assert judge(other).name == judge(found).name


@given(found_evidence(), RUNS, st.integers(min_value=1, max_value=7))
def test_a_slower_disk_never_makes_the_model_the_bottleneck(found: Evidence, cold: Rate, power: int) -> None:
    """Where a disk of an eighth of the speed leaves the model the bottleneck, it was the bottleneck before."""
    before = replace(found, cold=cold, state="cold")
    after = replace(before, cold=scaled(cold, 0.5**power))

    assert judge(after).name != "compute-bound" or judge(before).name == "compute-bound"


@given(found_evidence())
def test_the_times_of_a_verdict_add_up(found: Evidence) -> None:
    """Fetch and decode make the loader's time per picture, and none is negative."""
    verdict = judge(found)
    loader = 1000 / found.loader.images_per_second

    assert verdict.milliseconds["fetch"] + verdict.milliseconds["decode"] == pytest.approx(loader)
    assert min(verdict.milliseconds.values()) >= 0 and 0 <= verdict.stall <= 1


@pytest.mark.parametrize("rates", [(0, 1, 2), (3, 2, 4), (1, 2, math.inf), (1, math.nan, 2)])
def test_what_is_no_rate_is_refused(rates: tuple[float, float, float]) -> None:
    """Zero, infinity, NaN and a median outside its own range."""
    lowest, median, highest = rates
    with pytest.raises(MeasurementError, match="no rates"):
        Rate(images_per_second=median, lowest=lowest, highest=highest)


def test_data_larger_than_free_memory_are_cold_in_every_epoch() -> None:
    """ImageNet's 138 GiB do not fit into 16 GiB; Tiny-ImageNet's 0.25 do."""
    assert state_that_counts(138 * 2**30, 16 * 2**30) == "cold"
    assert state_that_counts(2**28, 16 * 2**30) == "warm"


def point(loader: str, workers: int, value: float, spread: float = 0.02) -> CurvePoint:
    return CurvePoint(loader=loader, workers=workers, rate=rate(value, spread), cpu_seconds_per_image=0.001)


CURVE = [
    point("imagefolder", 0, 500),
    point("imagefolder", 2, 900),
    point("imagefolder", 4, 950),
    point("threaded", 0, 1200),
    point("threaded", 2, 2300),
    point("threaded", 4, 2500),
    point("threaded", 8, 2510),
]


def test_the_recommendation_is_the_knee_and_not_the_maximum() -> None:
    """Eight threads are 0.4 % faster than four, within their own spread of 2 %: four."""
    found = recommend(CURVE)

    assert (found.loader, found.workers) == ("threaded", 4)


def test_a_noisy_curve_has_an_earlier_knee() -> None:
    """If the best itself wavers by 20 %, two threads are within it."""
    curve = [*CURVE[:-1], point("threaded", 8, 2510, spread=0.2)]

    assert recommend(curve).workers == 2


def test_no_workers_are_recommended_only_where_there_is_no_choice() -> None:
    """Loading in the trainer's own thread stops while the model computes, so its rate alone says little."""
    assert recommend([point("threaded", 0, 3000), point("threaded", 1, 2999)]).workers == 1
    assert recommend([point("threaded", 0, 3000)]).workers == 0


def test_a_slow_model_needs_fewer_workers() -> None:
    """1,000 images/s with a tenth to spare are fed by two threads, 5,000 by none that were measured."""
    assert enough_workers(CURVE, "threaded", 1000) == 2
    assert enough_workers(CURVE, "threaded", 5000) is None


def test_the_gain_is_told_against_what_most_people_run() -> None:
    """The first loader of the table with one worker for each CPU."""
    assert (baseline(CURVE, cpus=4).loader, baseline(CURVE, cpus=4).workers) == ("imagefolder", 4)


def test_side_by_side_the_slower_decides_and_in_turn_the_times_add_up() -> None:
    """1000 and 1000 images/s give 1000 with workers on CPUs of their own, and 500 otherwise."""
    assert trained(1000, 1000, shares_cpus=False, workers=2) == 1000
    assert trained(1000, 1000, shares_cpus=False, workers=0) == pytest.approx(500)
    assert trained(1000, 1000, shares_cpus=True, workers=2) == pytest.approx(500)


def test_the_break_even_is_where_the_verdict_really_turns() -> None:
    """At that many CPUs, that bandwidth or that model the two sides are equal; a tenth more or less decides."""
    found = evidence(model=4000, warm=2000)
    turns = break_even(found, point("threaded", 2, 2000), 110_000, shares_cpus=False)

    assert turns.cpus == pytest.approx(4)  # 1 ms of CPU time a picture
    assert turns.disk_bytes_per_second == pytest.approx(2000 * 110_000)
    at = turns.model_images_per_second
    assert judge(replace(found, model=rate(at), together=rate(at))).name == "balanced"
    assert judge(replace(found, model=rate(at * 1.2))).name == "decode-bound"
    slower = rate(at / (BALANCED * 1.1))
    assert judge(replace(found, model=slower, together=slower)).name == "compute-bound"
    assert break_even(found, point("threaded", 2, 2000), 110_000, shares_cpus=True).cpus is None


FAST_STEP = Step(seconds_per_image=0.001)
SLOW = 100  # images/s of what is made slow; everything else does five to forty times as much


def in_this_process(throttle: Throttle | None = None) -> Callable[[Job, float], Run]:
    """Return a runner that measures as a fresh process does, without the seconds that starting one takes."""

    def run(job: Job, timeout: float) -> Run:
        measurement = answer_to(throttled(job, throttle)).measurement
        assert measurement is not None
        return Run(open_seconds=0.0, measurement=measurement, peak_rss_bytes=None)

    return run


def throttled(job: Job, throttle: Throttle | None) -> Job:
    return replace(job, throttle=throttle) if job.loader == "threaded" else job


def diagnosed(root: Path, step: Step = FAST_STEP, throttle: Throttle | None = None) -> Diagnosis:
    """Diagnose two threads on small pictures; whatever is measured, the rest is the real machinery."""
    plan = DiagnosisPlan(
        root=root, step=step, loaders=("threaded",), workers=(2,), batch_size=8, image_size=64, seconds=0.3, repeats=1
    )

    def profile(job: Job, timeout: float) -> Profile:
        stages = time_stages_of(job.loader, job.spec, throttle)
        return Profile(as_is=stages, encode="restart", encodings={})

    return conclude(plan, measure_all(plan, run=in_this_process(throttle), profile=profile))


def slow_disk(root: Path) -> Throttle:
    pictures = [path.stat().st_size for path in (root / "train").glob("*/*")]
    return Throttle(bytes_per_second=SLOW * sum(pictures) / len(pictures))


@pytest.fixture
def slow_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """libjpeg-turbo takes 20 ms a picture: two threads decode 100 a second."""
    decode = simplejpeg.decode_jpeg

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(2 / SLOW)
        return decode(*arguments, **options)

    monkeypatch.setattr(simplejpeg, "decode_jpeg", slow)


@pytest.mark.slow
def test_a_slow_disk_is_named_ten_times_out_of_ten(root: Path) -> None:
    """Reads held to 100 pictures a second, where decoding and the model could do many more."""
    verdicts = [diagnosed(root, throttle=slow_disk(root)).verdict.name for _ in range(10)]

    assert verdicts == ["fetch-bound"] * 10


@pytest.mark.slow
@pytest.mark.usefixtures("slow_decoder")
def test_a_slow_decoder_is_named_ten_times_out_of_ten(root: Path) -> None:
    """A decoder of 20 ms a picture, fed from memory."""
    verdicts = [diagnosed(root).verdict.name for _ in range(10)]

    assert verdicts == ["decode-bound"] * 10


@pytest.mark.slow
def test_a_slow_model_is_named_ten_times_out_of_ten(root: Path) -> None:
    """A model that takes 20 ms a picture, on a loader that does many more."""
    verdicts = [diagnosed(root, step=Step(seconds_per_image=2 / SLOW)).verdict.name for _ in range(10)]

    assert verdicts == ["compute-bound"] * 10


@pytest.mark.slow
def test_the_command_diagnoses_in_fresh_processes(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One JSON object as the contract has it, the tables on stderr, and a document that reads back."""
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
    assert {row["encode"] for row in answer["what_if"]} == {"copy", "restart", "resize"}
    assert all(row["epoch_seconds"] == pytest.approx(1_281_167 / row["images_per_second"]) for row in answer["what_if"])
    assert found.verdict.name == "compute-bound" and len(found.runs) == 6 - (found.cold is None)
    assert "compute-bound: the model is slower" in stderr and "HDD" in stderr and "feedline train" in stderr


@pytest.mark.slow
def test_a_real_training_step_can_be_the_model(root: Path) -> None:
    """ResNet-18 on the CPU at 32 pixels: its step is timed, and the pictures really are trained on."""
    job = Job(
        loader="cached",
        spec=LoaderSpec(root=root, batch_size=8, image_size=32),
        seconds=0.2,
        step=Step(model="resnet18"),
    )
    with_model = run_in_fresh_process(job, 300).measurement.images_per_second
    without = run_in_fresh_process(replace(job, step=None), 300).measurement.images_per_second

    assert 1 < with_model < without / 10


@pytest.mark.parametrize("loader", ["threaded", "imagefolder", "webdataset"])
def test_every_stage_of_a_loader_takes_time_and_reads_the_real_bytes(root: Path, loader: str) -> None:
    """Fetch, decode, transform and collate are all there; nothing is transferred without a GPU."""
    spec = LoaderSpec(root=root, batch_size=8, image_size=32)
    found = time_stages_of(loader, spec)

    assert found.parts.pop("transfer") == 0
    assert list(found.parts) == ["fetch", "decode", "transform", "collate"] and min(found.parts.values()) > 0
    assert len(found.sizes) == len(found.work_seconds) > 0 and min(found.sizes) > 100


def test_a_throttled_fetch_is_seen_in_the_split(root: Path) -> None:
    """At 100 pictures a second a picture takes 10 ms to fetch, and most of the time is fetching."""
    spec = LoaderSpec(root=root, batch_size=8, image_size=32)
    found = time_stages_of("threaded", spec, slow_disk(root))

    assert found.parts["fetch"] > 5 and found.fetch_share > 0.5


def test_smaller_pictures_are_smaller_and_markers_cost_little(root: Path) -> None:
    """A sample in each encoding: resized ones are a part of the bytes, restart markers a few percent more."""
    found = time_encodings("threaded", LoaderSpec(root=root, batch_size=8, image_size=32))

    assert list(found) == ["copy", "restart", "resize"]
    assert found["restart"].bytes_per_image == pytest.approx(found["copy"].bytes_per_image, rel=0.1)
    assert found["resize"].bytes_per_image <= found["restart"].bytes_per_image


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere"], 1, "nowhere"),
        (["nowhere", "--loader", "cached"], 2, "no loader 'cached' to train with"),
        (["nowhere", "--gpu", "gtx"], 2, "no GPU 'gtx' in the table; choose one of: h100"),
        (["nowhere", "--model", "resnet9"], 2, "no model 'resnet9'"),
        (["nowhere", "--model", "resnet18", "--step-ms", "3"], 2, "give one of --model, --step-ms and --gpu"),
        (["nowhere", "--step-ms", "0"], 2, "step-ms"),
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: list[str], code: int, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The thing, the value, and an exit code that tells usage from data."""
    assert feedline(["diagnose", *arguments]) == code
    stderr = capfd.readouterr().err
    assert sentence in " ".join(stderr.split()) and "Traceback" not in stderr


def test_a_file_that_is_no_diagnosis_is_one_sentence(tmp_path: Path) -> None:
    """Foreign JSON is refused by name, with the command that makes a diagnosis."""
    (tmp_path / "diagnosis.json").write_text('{"format": "feedline-bench"}')

    with pytest.raises(MeasurementError, match="feedline diagnose ROOT"):
        read_diagnosis(tmp_path / "diagnosis.json")


def found_by_hand(root: Path, problem: str = "") -> Diagnosis:
    """Return a diagnosis of invented runs: a decoder of half the model's speed."""
    parts = {"fetch": 0.1, "decode": 1.5, "transform": 0.3, "collate": 0.1, "transfer": 0.0}
    stages = StageTimes(loader="threaded", parts=parts, sizes=(110_000,) * 4, work_seconds=(0.002,) * 4)
    smaller = replace(stages, sizes=(30_000,) * 4, work_seconds=(0.0005,) * 4)
    curve = (point("imagefolder", 2, 500), point("threaded", 1, 600), point("threaded", 2, 1000))
    findings = Findings(
        curve=curve,
        chosen=curve[-1],
        state="warm",
        data_bytes=2**30,
        free_bytes=2**34,
        model=rate(2000),
        warm=rate(1000),
        cold=None,
        together=rate(990),
        profile=Profile(as_is=stages, encode="restart", encodings={"restart": stages, "resize": smaller}),
        runs=(),
        problems=(problem,) if problem else (),
    )
    return conclude(DiagnosisPlan(root=root, step=FAST_STEP), findings, command=("feedline", "diagnose", str(root)))


def test_what_was_measured_is_concluded_and_kept(tmp_path: Path) -> None:
    """Verdict, gain, what would change it and what to do; the document reads back as it was."""
    found = found_by_hand(tmp_path)
    write_diagnosis(tmp_path / "out", found)

    assert found.verdict.name == "decode-bound" and (found.loader, found.workers) == ("threaded", 2)
    assert (found.gain.loader, found.gain.before, found.gain.after) == ("imagefolder", 500, 1000)
    assert found.enough_workers is None and found.break_even.model_images_per_second == 1000
    assert any("--encode resize makes a picture cost 4.00 times less" in step for step in advice(found))
    assert read_diagnosis(tmp_path / "out" / "diagnosis.json") == found


def test_the_report_begins_with_the_diagnosis_among_its_records(root: Path, tmp_path: Path) -> None:
    """One heading of the first rank, the verdict; tables of the runs, the stages and the disks; all text escaped."""

    def run(job: Job, timeout: float) -> Run:
        windows = (Window(seconds=1.0, samples=100),) * 3
        measurement = Measurement(
            first_batch_seconds=0.5,
            warmup=(),
            windows=windows,
            gap_seconds=(),
            samples_seen=300,
            label_sum=0,
            cpu_seconds=None,
        )
        return Run(open_seconds=0.0, measurement=measurement, peak_rss_bytes=None)

    out = tmp_path / "bench"
    write_diagnosis(out, found_by_hand(root, problem="<script>alert(1)</script>"))
    bench(Plan(root=root, loaders=("threaded",), workers=(1,), repeats=1), out, run=run)

    assert feedline(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")

    assert page.count("<h1>") == 1 and "<h1>decode-bound: the loader is slower than the model" in page
    assert page.index("decode-bound") < page.index("<h2>Throughput")
    assert all(word in page for word in ("object store", "transform", "Training images/s", "free memory"))
    assert "<script>" not in page and "&lt;script&gt;" in page
