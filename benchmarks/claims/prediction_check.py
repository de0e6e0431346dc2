"""Error of the what-if prediction: the rate of a loader behind a throttle, predicted and then measured.

    python -m feedline.benchmarks.claims.prediction_check ROOT --out FILE

``threaded`` runs in its own threads with its own read path. A throttle in that path (``loaders.support.throttle``)
limits bytes and requests as a disk would, at several bandwidths and at one latency. The table shows the predicted
rate, the measured rate and the error, whatever it is.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click

from ...loaders import LoaderSpec
from ...loaders.support.throttle import Throttle
from ...prep import FeedlineError, Progress, silent, usable_cpus, write_document
from ..diagnose.hardware import Disk
from ..diagnose.storage_model import predict
from ..diagnose.verdict import Rate, rate_of
from ..diagnose.what_if import loads
from ..machine.cache import files_read, warm
from ..machine.environment import Environment, capture
from ..measuring.process import CHILD, MeasuringJob, profile_in_fresh_process, run_in_fresh_process
from ..measuring.record import Code, running_code

BANDWIDTHS = (0.25, 0.5, 1.0)
"""The throttles, as shares of the loader's read rate from memory: far below it, below it, and equal to it."""
REQUEST_SECONDS = 0.005
"""Latency of the last condition, which has no limit of bandwidth."""
NO_LIMIT = 1e12  # bytes/s
TIMEOUT = 600.0  # seconds, after which a run that hangs is ended
WITHIN = 0.10
"""The goal: a prediction's error is at most this."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One throttle, with the predicted and the measured rate behind it."""

    throttle: Throttle
    predicted: float
    measured: Rate

    @property
    def error(self) -> float:
        """(predicted - measured) / measured."""
        return self.predicted / self.measured.images_per_second - 1


@dataclass(frozen=True, kw_only=True)
class Check:
    """The document of one check of the prediction."""

    format: Literal["feedline-what-if-check"] = "feedline-what-if-check"
    schema: Literal[1] = 1
    date: str
    code: Code
    environment: Environment
    spec: LoaderSpec
    seconds: float
    """Measuring time of each run."""
    unthrottled: dict[int, Rate]
    """The rate on warm data without a throttle, by workers."""
    bytes_per_image: float
    conditions: tuple[Condition, ...]


def check(
    spec: LoaderSpec,
    *,
    seconds: float,
    repeats: int,
    progress: Progress = silent,
    command: Sequence[str] = CHILD,
) -> Check:
    """Predict and measure ``threaded`` behind a throttle, each run in a fresh process, interleaved over repeats.

    Raises MeasurementError if a run fails.
    """
    job = MeasuringJob(loader="threaded", spec=spec, seconds=seconds)
    profile = profile_in_fresh_process(job, TIMEOUT, command)
    fast = run_in_fresh_process(job, TIMEOUT, command).measurement.images_per_second
    throttles = [
        *(Throttle(bytes_per_second=share * fast * profile.as_is.bytes_per_image) for share in BANDWIDTHS),
        Throttle(bytes_per_second=NO_LIMIT, seconds_per_request=REQUEST_SECONDS),
    ]
    counts = sorted({1, spec.workers})
    free = [replace(job, spec=replace(spec, workers=count)) for count in counts]
    jobs = [*free, *(replace(job, throttle=throttle) for throttle in throttles)]
    rates: list[list[float]] = [[] for _ in jobs]
    for repeat in range(repeats):
        places = range(len(jobs)) if repeat % 2 == 0 else reversed(range(len(jobs)))
        for done, place in enumerate(places, 1):
            rates[place].append(run_in_fresh_process(jobs[place], TIMEOUT, command).measurement.images_per_second)
            progress("check the prediction", repeat * len(jobs) + done, repeats * len(jobs))
    found = list(map(rate_of, rates))
    unthrottled, throttled = dict(zip(counts, found, strict=False)), found[len(counts) :]
    warm_rates = {count: rate.images_per_second for count, rate in unthrottled.items()}
    load = next(iter(loads(profile, warm_rates, spec.workers).values()))
    return Check(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        code=running_code(),
        environment=capture(),
        spec=spec,
        seconds=seconds,
        unthrottled=unthrottled,
        bytes_per_image=profile.as_is.bytes_per_image,
        conditions=tuple(
            Condition(throttle=throttle, predicted=predict(load, _disk(throttle)), measured=rate)
            for throttle, rate in zip(throttles, throttled, strict=True)
        ),
    )


def _disk(throttle: Throttle) -> Disk:
    """Return the throttle as a disk that gets one request for each image."""
    return Disk(
        name="throttle",
        bytes_per_second=throttle.bytes_per_second,
        waiting_seconds=throttle.seconds_per_request,
        request_bytes=math.inf,
        source="feedline.loaders.support.throttle",
    )


def tabulate_check(found: Check) -> str:
    """Return the conditions in Markdown."""
    lines = [
        "| MB/s | ms per request | predicted, images/s | measured | spread | error |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for condition in found.conditions:
        slow, measured = condition.throttle, condition.measured
        bandwidth = f"{slow.bytes_per_second / 1e6:,.1f}" if slow.bytes_per_second < NO_LIMIT else "no limit"
        lines.append(
            f"| {bandwidth} | {1000 * slow.seconds_per_request:g} | {condition.predicted:,.0f} | "
            f"{measured.images_per_second:,.0f} | {measured.spread:.1%} | {condition.error:+.1%} |"
        )
    return "\n".join(lines)


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The record to write.")
@click.option("--workers", type=click.IntRange(min=1), default=usable_cpus, show_default="usable CPUs")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--image-size", type=click.IntRange(min=1), default=224, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=3.0, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
def main(root: Path, out: Path, workers: int, batch_size: int, image_size: int, seconds: float, repeats: int) -> None:
    """Check the rates that are predicted for slower disks: measure ROOT behind a throttle."""
    spec = LoaderSpec(root=root, workers=workers, batch_size=batch_size, image_size=image_size)
    warm(files_read(root, spec.split, ["threaded"]))
    found = check(spec, seconds=seconds, repeats=repeats)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_document(out, found)
    click.echo(tabulate_check(found))
    worst = max(abs(condition.error) for condition in found.conditions)
    click.echo(f"The largest error is {worst:.1%}; the goal is {WITHIN:.0%}.", err=True)


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
