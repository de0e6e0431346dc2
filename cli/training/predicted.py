"""The time of a run by the record of ``feedline bench --train`` on this machine.

``train`` cannot import ``benchmarks``, and the command line can import both. A record counts if it is of this machine,
these images, this model, stem and precision. It is of one image size: a run with smaller images is faster than
predicted, one with larger images is not predicted. This module imports both at the top, so a command imports it in a
function.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from ...benchmarks import capture
from ...benchmarks.bench.training_speed import Speed, SpeedRecord, read_speeds
from ...benchmarks.results.ranking import CEILING
from ...prep.base.origins import shown
from ...train import AUTO, RunPlan, TrainConfig


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The time of a run's training, without its evaluations."""

    seconds: float | None
    """None without a record that applies."""
    images_per_second: float | None
    loader: str | None
    sentence: str


def predict(plan: RunPlan, places: list[Path]) -> Prediction:
    """Return the time that the newest record in ``places`` predicts, or the command that makes such a record.

    Raises DatasetError for a file of that name that is not such a record.
    """
    record = read_speeds(places)
    speed = None if record is None or not _applies(record, plan) else _fastest(record, plan)
    if record is None or speed is None:
        command = _bench_command(plan.config)
        sentence = (
            f"the time is not known, because no record of this machine, model and size is here; make one: {command}"
        )
        return Prediction(seconds=None, images_per_second=None, loader=None, sentence=sentence)
    images = plan.steps * plan.batch
    seconds = images / speed.images_per_second
    at_most = "at most " if any(span.image_size < record.config.image_size for span in plan.sizes) else ""
    sentence = (
        f"training takes {at_most}about {_time(seconds)}, without the evaluations: {images:,} images at "
        f"{speed.images_per_second:,.0f} images/s with {speed.loader}, measured on {record.date[:10]} with batches of "
        f"{record.config.batch_size} of {record.config.image_size} px"
    )
    return Prediction(
        seconds=seconds, images_per_second=speed.images_per_second, loader=speed.loader, sentence=sentence
    )


def _applies(record: SpeedRecord, plan: RunPlan) -> bool:
    ours, theirs = plan.config, record.config
    same = all(getattr(ours, name) == getattr(theirs, name) for name in ("model", "amp"))
    largest = max(span.image_size for span in plan.sizes)
    # A record keeps the stem as it was requested; auto depends on the size.
    stem = theirs.stem == ours.stem or (theirs.stem == "auto" and largest == theirs.image_size)
    here = record.environment.machine == capture().machine
    return same and stem and here and theirs.image_size >= largest and _root(theirs) == _root(ours)


def _root(config: TrainConfig) -> Path:
    return config.root.resolve()


def _fastest(record: SpeedRecord, plan: RunPlan) -> Speed | None:
    """Return the record's speed with the run's loader, or with the fastest, on as many ranks of the run's device."""
    kind = plan.config.device.partition(":")[0]
    rows = [
        speed
        for speed in record.speeds
        if speed.device.partition(":")[0] == kind
        and speed.ranks == plan.ranks
        and speed.loader != CEILING
        and plan.config.loader in (AUTO, speed.loader)
    ]
    return max(rows, key=lambda speed: speed.images_per_second, default=None)


def _bench_command(config: TrainConfig) -> str:
    words = ["feedline", "bench", shown(config.root), "--train", "--model", config.model, "--stem", config.stem]
    words += ["--image-size", str(config.image_size), "--batch-size", str(config.batch_size // config.accumulate)]
    return shlex.join([*words, *(["--amp", config.amp] if config.amp != "none" else []), "--out", "bench"])


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
