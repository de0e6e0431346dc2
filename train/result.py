"""What a finished run reports, and whether its input kept up with the model.

Data wait is the share of the training time that a step waited for its batch. Whoever sees 30 % wants to know
what to do about it, so the report ends with that sentence.
"""

from dataclasses import dataclass
from pathlib import Path

from ..loaders import LOADERS
from ..prep import SHARDS
from .config import TrainConfig
from .history import EpochRecord
from .metrics import Metrics

# Below a twentieth, the best loader in the world could not shorten the run noticeably.
STARVED = 0.05


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run reached and where it is kept."""

    train: Metrics
    """Of the last epoch, over its training batches as they were trained on."""
    val: Metrics | None
    """Of the final weights; None without a labelled val split."""
    images_per_second: float
    """Of all ranks, over all epochs, without the evaluations."""
    data_wait: float
    """Share, 0 to 1, of the training time spent waiting for the loader."""
    input_verdict: str
    """One sentence: whether the input starved the model, and what to change."""
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


def summarise(
    config: TrainConfig, history: tuple[EpochRecord, ...], *, classes: int, ranks: int, last: Path, best: Path
) -> TrainResult:
    """Return what a finished run reached. ``config`` must be resolved."""
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
    )


def input_verdict(config: TrainConfig, images_per_second: float, data_wait: float) -> str:
    """Return one sentence: whether the input starved the model, and what to change where it did."""
    if data_wait < STARVED:
        return f"the input kept up: the model waited {data_wait:.1%} of the time, so a faster loader would gain little"
    possible = images_per_second / (1 - data_wait)
    return (
        f"the input starved the model: it waited {data_wait:.1%} of the time, and without that it would train "
        f"{possible:,.0f} images/s instead of {images_per_second:,.0f}; {_advice(config)}"
    )


def _advice(config: TrainConfig) -> str:
    if config.workers == 0 and LOADERS[config.loader].uses_workers:
        return "use --workers, so that batches are loaded while the model computes"
    sharded = "" if (config.root / SHARDS).is_dir() else f" after: feedline shard {config.root}"
    return f"measure which loader and how many --workers are fastest with: feedline bench {config.root}{sharded}"
