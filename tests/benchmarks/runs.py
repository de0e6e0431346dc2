"""Fake measuring runs with a known rate."""

from dataclasses import replace

from feedline.benchmarks import Measurement, Window
from feedline.benchmarks.measuring.process import MeasuringRun


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
