"""Fake measuring runs with a known rate, and the rates of an invented diagnosis."""

from dataclasses import replace

from feedline.benchmarks import Measurement, Window
from feedline.benchmarks.diagnose.diagnosis_runs import MeasuredRates
from feedline.benchmarks.diagnose.recommend import CurvePoint
from feedline.benchmarks.diagnose.verdict import rate_of
from feedline.benchmarks.measuring.encodings import Profile
from feedline.benchmarks.measuring.process import MeasuringRun
from feedline.benchmarks.measuring.stages import StageTimes


def run_at(rate: int, windows: int = 3, peak_rss_bytes: int | None = None, **changes: object) -> MeasuringRun:
    """Return a run with windows of 1 s at ``rate`` images/s; ``changes`` replace fields of its measurement."""
    measurement = Measurement(
        first_batch_seconds=0.5,
        warmup=(),
        windows=(Window(seconds=1.0, samples=rate),) * windows,
        gap_seconds=(),
        samples_seen=rate * windows,
        label_sum=0,
        cpu_seconds=None,
    )
    return MeasuringRun(open_seconds=0.25, measurement=replace(measurement, **changes), peak_rss_bytes=peak_rss_bytes)


def invented_rates(problem: str = "") -> MeasuredRates:
    """Return invented rates: ``threaded`` with 2 workers loads 1,000 images/s, and the model takes 2,000."""
    parts = {"fetch": 0.1, "decode": 1.5, "transform": 0.3, "collate": 0.1, "transfer": 0.0}
    stages = StageTimes(loader="threaded", parts=parts, sizes=(110_000,) * 4, work_seconds=(0.002,) * 4)
    smaller = replace(stages, sizes=(30_000,) * 4, work_seconds=(0.0005,) * 4)
    curve = tuple(
        CurvePoint(loader=loader, workers=workers, rate=rate_of([value]), cpu_seconds_per_image=0.001)
        for loader, workers, value in (("imagefolder", 2, 500), ("threaded", 1, 600), ("threaded", 2, 1000))
    )
    return MeasuredRates(
        curve=curve,
        chosen=curve[-1],
        state="warm",
        data_bytes=2**30,
        free_bytes=2**34,
        model=rate_of([2000]),
        warm=rate_of([1000]),
        cold=None,
        together=rate_of([990]),
        profile=Profile(as_is=stages, encode="restart", encodings={"restart": stages, "resize": smaller}),
        runs=(),
        problems=(problem,) if problem else (),
    )
