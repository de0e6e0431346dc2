"""A training run for the report: its settings and its epochs, read from the run's directory."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from ...prep import FeedlineError, MeasurementError, read_document

if TYPE_CHECKING:
    from ...train import TrainConfig
    from ...train.history import EpochRecord

# The line of an epoch has some 400 characters; the longest recipes for ImageNet have 600 epochs.
MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """The settings and the finished epochs of a training run."""

    config: "TrainConfig"
    epochs: "tuple[EpochRecord, ...]"


def read_run(run: Path) -> TrainingRun:
    """Return the training run in directory ``run``; raise MeasurementError if it has no finished epoch."""
    from ...train import TrainConfig, resume_command

    metrics = run / "metrics.jsonl"
    try:
        config = read_document(run / "config.json", TrainConfig)
        with metrics.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FeedlineError as error:
        raise MeasurementError(f"{run} is not a training run: {error}") from error
    except OSError as error:
        raise MeasurementError(f"cannot read {metrics}: {error.strerror}; name another --run") from error
    if len(data) > MAX_BYTES:
        raise MeasurementError(
            f"{metrics} is larger than {MAX_BYTES} bytes, the limit for a training run; name another --run"
        )
    epochs = tuple(_epoch(metrics, number, line) for number, line in enumerate(data.splitlines(), 1))
    if not epochs:
        command = resume_command(run / "checkpoints" / "last.pt")
        raise MeasurementError(f"{metrics} has no finished epoch; continue the run with: {command}")
    return TrainingRun(config=config, epochs=epochs)


def _epoch(metrics: Path, number: int, line: bytes) -> "EpochRecord":
    """Return the epoch of one line; numbers that are not finite, which pydantic accepts, count as damage."""
    from ...train.history import EpochRecord

    problem = f"{metrics} is damaged in line {number}; name another --run"
    try:
        epoch = TypeAdapter(EpochRecord).validate_json(line)
    except ValidationError as error:
        raise MeasurementError(problem) from error
    shown = [value for part in (epoch.train, epoch.val) if part for value in (part.loss, part.top1, part.top5)]
    if not all(math.isfinite(value) for value in (*shown, epoch.data_wait, epoch.images_per_second)):
        raise MeasurementError(problem)
    return epoch
