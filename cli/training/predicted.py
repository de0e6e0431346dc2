"""The time of a run by the record of ``feedline bench --train`` on this machine.

``train`` cannot import ``benchmarks``, and the command line can import both. A record counts if it is of this machine,
these images, this model, stem and precision, and none counts for a compiled run or one with a teacher. Other settings,
such as the optimiser and augmentations, change the speed somewhat, and the prediction names those that the record
lacks. A record is of one image size: a run with smaller images is faster than predicted, one with larger images is not
predicted. This module imports both at the top, so a command imports it in a function.
"""

from dataclasses import dataclass
from pathlib import Path

from ...benchmarks import capture
from ...benchmarks.bench.training_speed import Speed, SpeedRecord, device_sets, read_speeds
from ...benchmarks.results.ranking import CEILING
from ...prep.base.shell import shell_word
from ...train import AUTO, RunPlan, TrainConfig
from ...train.config import chosen_stem

UNMEASURED = ("compile", "teacher")
DECISIVE = ("model", "amp", *UNMEASURED)
"""Settings that a record must have as the run has them, in addition to the stem."""
MINOR = (
    *("optimiser", "channels_last", "tf32", "blurpool", "drop_path", "ema", "colour_jitter", "augment", "erase"),
    *("mixup", "cutmix", "decode", "dct_scaling", "pixels"),
)
"""Settings that change the speed somewhat. The prediction names those that the record lacks."""


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
        reason = "the time is not known, because no record of this machine, model and size is here"
        sentence = f"{reason}; {_advice(plan, places)}"
        return Prediction(seconds=None, images_per_second=None, loader=None, sentence=sentence)
    images = plan.steps * plan.batch
    seconds = images / speed.images_per_second
    at_most = "at most " if any(span.image_size < record.config.image_size for span in plan.sizes) else ""
    sentence = (
        f"training takes {at_most}about {_time(seconds)}, without the evaluations: {images:,} images at "
        f"{speed.images_per_second:,.0f} images/s with {speed.loader}, measured on {record.date[:10]} with batches of "
        f"{record.config.batch_size} of {record.config.image_size} px{_unlike(record, plan)}"
    )
    return Prediction(
        seconds=seconds, images_per_second=speed.images_per_second, loader=speed.loader, sentence=sentence
    )


def _applies(record: SpeedRecord, plan: RunPlan) -> bool:
    ours, theirs = plan.config, record.config
    same = all(getattr(ours, name) == getattr(theirs, name) for name in DECISIVE)
    # A record keeps the stem as it was requested; auto depends on the size.
    stem = chosen_stem(theirs.stem, theirs.image_size, theirs.model) == ours.stem
    here = record.environment.machine == capture().machine
    return same and stem and here and theirs.image_size >= _largest(plan) and _root(theirs) == _root(ours)


def _largest(plan: RunPlan) -> int:
    return max(span.image_size for span in plan.sizes)


def _unlike(record: SpeedRecord, plan: RunPlan) -> str:
    """Return the settings of the run that change its speed somewhat, and that the record does not have."""
    ours, theirs = plan.config, record.config
    listed = [f"{name} {getattr(ours, name)}" for name in MINOR if _value(ours, name) != _value(theirs, name)]
    return f", without {', '.join(listed)}" if listed else ""


def _value(config: TrainConfig, name: str) -> object:
    return getattr(config, name) or None  # drop_path 0 is none


def _advice(plan: RunPlan, places: list[Path]) -> str:
    """Return the command that makes a record for the run, or why there is none."""
    config, gpus = plan.config, device_sets()[1:]
    fixed = [f"{name} {getattr(config, name)}" for name in UNMEASURED if getattr(config, name)]
    if fixed:
        return f"feedline bench --train measures none with {' and '.join(fixed)}"
    if config.device.startswith("cuda") and plan.ranks not in {ranks for _, ranks in gpus}:
        numbers = " and ".join(str(ranks) for _, ranks in gpus) or "none"
        return f"feedline bench --train cannot measure {plan.ranks} GPUs here; it measures {numbers}"
    return f"make one: {_bench_command(plan, places)}"


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


def _bench_command(plan: RunPlan, places: list[Path]) -> str:
    config, bench = plan.config, Path("bench")
    out = bench if not places or bench in places else places[0]
    words = ["feedline bench", shell_word(config.root), "--train --model", shell_word(config.model)]
    words += ["--stem", config.stem, "--image-size", str(_largest(plan)), "--batch-size", str(plan.part)]
    words += ["--amp", config.amp] if config.amp != "none" else []
    words += ["--ranks", str(plan.ranks)] if config.device == "cpu" and plan.ranks > 1 else []
    return " ".join([*words, "--out", shell_word(out)])


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
