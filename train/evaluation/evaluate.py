"""The evaluation of a checkpoint on a split.

Accuracies, confusions, and the images on which two checkpoints disagree are computed from the same per-sample table.
So no two of these figures can contradict each other.
"""

from dataclasses import dataclass
from pathlib import Path

from ...prep import Progress, silent
from ...prep.base.paths import GivenPath
from .figures import ClassAccuracy, Confusion, calibration_error, class_accuracies, confusions
from .predictions import EvaluateConfig, predict
from .real import read_real, real_top1


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics of a checkpoint on a split, in total and per class."""

    loss: float
    """Mean cross-entropy, in nats."""
    top1: float
    """As ``Metrics.top1``, 0 to 1; so is ``top5``."""
    top5: float
    images: int
    skipped: int
    """Images that could not be decoded and were left out, with ``on_error="skip"``."""
    images_per_second: float
    checkpoint: Path
    model: str
    epoch: int | None
    """Finished epochs of the checkpoint; None for weights of another program."""
    calibration_error: float
    """Expected calibration error, 0 to 1: the mean distance of probability and accuracy over 15 bins of probability."""
    real_top1: float | None
    """Top-1 by ImageNet-ReaL's labels; None unless the root has them in ``real.json``."""
    split: str
    loader: str
    workers: int
    classes: tuple[ClassAccuracy, ...]
    """In class order."""
    confusions: tuple[Confusion, ...]
    """The ten pairs with the most images."""


def evaluate(checkpoint: GivenPath, config: EvaluateConfig, progress: Progress = silent) -> Evaluation:
    """Return the evaluation of the checkpoint on a labelled split, with the EMA weights if the run kept them.

    Raises TrainingError for a checkpoint that cannot be used or has other classes than the data set, DatasetError
    and LoaderError for the data.
    """
    checkpoint = Path(checkpoint)
    subject, contents, predictions = predict(checkpoint, config, progress)
    count = len(predictions.labels)
    real = read_real(config.root, config.split, len(contents.classes))
    return Evaluation(
        loss=float(predictions.losses.mean()),
        top1=float(predictions.correct.mean()),
        top5=float(predictions.top5.mean()),
        images=count,
        skipped=predictions.skipped,
        images_per_second=count / predictions.seconds,
        checkpoint=checkpoint,
        model=subject.model,
        epoch=subject.epoch,
        calibration_error=calibration_error(predictions),
        real_top1=None if real is None else real_top1(real, predictions.keys, predictions.best.tolist()),
        split=config.split,
        loader=config.loader,
        workers=config.workers,
        classes=class_accuracies(predictions, contents.classes),
        confusions=confusions(predictions, contents.classes),
    )
