"""The result of a finished run, and a sentence on whether the input kept up with the model.

Data wait is the share of the training time that steps waited for their batch. If it is high, the sentence ends with
what to change or the next command.
"""

from dataclasses import dataclass
from pathlib import Path

from ..loaders import LOADERS
from ..prep import SHARDS
from ..prep.base.shell import shell_word
from .config import TrainConfig
from .history import EpochRecord
from .metrics import Metrics

# With less data wait than a twentieth, a faster loader could not shorten the run noticeably.
NOTICEABLE_WAIT = 0.05


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The metrics, rates and settings of a finished run, and the paths of its checkpoints."""

    train: Metrics
    """Over the augmented training batches of the last epoch, each with the weights before its step."""
    val: Metrics | None
    """Over val, with the final weights; None without a labelled val split."""
    images_per_second: float
    """Images of all ranks and epochs per second of training, without the evaluations."""
    data_wait: float
    """Share of the training time spent waiting for the loader, 0 to 1."""
    input_verdict: str
    """One sentence: whether the input was the bottleneck, and what to change if it was."""
    loader: str
    workers: int
    ranks: int
    device: str
    model: str
    stem: str
    epochs: int
    classes: int
    checkpoint: Path
    best: Path
    skipped: int = 0
    """Images of train and val that could not be decoded and were left out, with ``on_error="skip"``."""


def summarise_run(
    config: TrainConfig,
    history: tuple[EpochRecord, ...],
    *,
    classes: int,
    ranks: int,
    last: Path,
    best: Path,
    skipped: int,
) -> TrainResult:
    """Return the result of a finished run. ``config`` must be resolved."""
    seconds = sum(record.seconds for record in history)
    rate = sum(record.images for record in history) / seconds
    data_wait = sum(record.data_wait * record.seconds for record in history) / seconds
    return TrainResult(
        train=history[-1].train,
        val=history[-1].val,
        images_per_second=rate,
        data_wait=data_wait,
        input_verdict=input_verdict(config, rate, data_wait),
        loader=config.loader,
        workers=config.workers or 0,  # never None once the loader is chosen
        ranks=ranks,
        device=config.device,
        model=config.model,
        stem=config.stem,
        epochs=config.epochs,
        classes=classes,
        checkpoint=last,
        best=best,
        skipped=skipped,
    )


def input_verdict(config: TrainConfig, images_per_second: float, data_wait: float) -> str:
    """Return one sentence: whether the input was the bottleneck, and what to change if it was."""
    if data_wait < NOTICEABLE_WAIT:
        return f"the input kept up: the model waited {data_wait:.1%} of the time, so a faster loader would gain little"
    possible = images_per_second / (1 - data_wait)
    return (
        f"the input was the bottleneck: the model waited {data_wait:.1%} of the time, and without the wait it would "
        f"train {possible:,.0f} images/s instead of {images_per_second:,.0f}; {_advice(config)}"
    )


def _advice(config: TrainConfig) -> str:
    if config.workers == 0 and LOADERS[config.loader].uses_workers:
        return "use --workers, so that batches are loaded while the model computes"
    sharded = "" if (config.root / SHARDS).is_dir() else f" after: feedline shard {shell_word(config.root)}"
    command = f"feedline bench {shell_word(config.root)}{sharded}"
    return f"measure which loader and how many --workers are fastest with: {command}"
