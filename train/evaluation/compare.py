"""The comparison of two checkpoints on one split: how often they disagree, and on which images most.

Two similar accuracies do not show whether the models are right on the same images or on different ones. So the two
predictions for every sample are compared. Of the images on which they disagree, those are listed where the probability
of the true class differs most.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...prep import ClassEntry, Progress, TrainingError, silent
from ...prep.base.paths import GivenPath
from .image_files import ImageFile, read_images
from .predictions import EvaluateConfig, Predictions, predict
from .subject import Subject


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction of one checkpoint for one image."""

    label: ClassEntry
    """The class with the highest score."""
    probability: float
    """Probability of that class, 0 to 1."""
    truth_probability: float
    """Probability of the true class, 0 to 1."""
    correct: bool


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One image for which the two checkpoints predict different classes."""

    file: str
    """Path relative to the root, with forward slashes; for a shard, its path and the member's name."""
    truth: ClassEntry
    a: Prediction
    b: Prediction
    gap: float
    """Probability of the true class in b minus that in a, -1 to 1."""


@dataclass(frozen=True, kw_only=True)
class ComparedCheckpoint:
    """One of the two checkpoints, with its metrics on the split."""

    checkpoint: Path
    model: str
    epoch: int | None
    """Finished epochs of the checkpoint; None for weights of another program."""
    loss: float
    top1: float
    top5: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The counts of a comparison, and the images on which the two checkpoints disagree most."""

    images: int
    skipped: int
    """Images that could not be decoded for a, or for b, and were left out, with ``on_error="skip"``."""
    disagreements: int
    """Number of images for which a and b predict different classes."""
    split: str
    a: ComparedCheckpoint
    b: ComparedCheckpoint
    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int
    listed: tuple[Disagreement, ...]
    """The disagreements with the largest absolute gaps, the largest first."""


def compare(
    checkpoints: tuple[GivenPath, GivenPath],
    config: EvaluateConfig,
    *,
    config_b: EvaluateConfig | None = None,
    limit: int = 10,
    progress: Progress = silent,
) -> tuple[Comparison, list[ImageFile]]:
    """Return the comparison of two checkpoints and the images that it lists, at most ``limit``.

    Each checkpoint is evaluated at its own image size. ``config_b`` has the settings of the second one if they are
    others, such as the ``model`` of weights that feedline did not write; the split must be that of ``config``.

    Raises TrainingError for a checkpoint that cannot be used or has other classes than the data set, DatasetError and
    LoaderError for the data.
    """
    path_a, path_b, config_b = Path(checkpoints[0]), Path(checkpoints[1]), config_b or config
    if (config_b.root, config_b.split) != (config.root, config.split):
        raise TrainingError(
            f"the checkpoints are compared on the same images; use {config.split} of {config.root} for b"
        )
    subject_a, contents, a = predict(path_a, config, progress)
    subject_b, _, b = predict(path_b, config_b, progress)
    shared = np.intersect1d(a.indexes, b.indexes)
    skipped = len(a.indexes) + a.skipped - len(shared)
    a, b = a.only(shared), b.only(shared)
    differ = np.flatnonzero(a.best != b.best)
    gaps = np.abs(b.truth_probability - a.truth_probability)
    chosen = differ[np.argsort(-gaps[differ], kind="stable")][:limit].tolist()
    images = read_images(config.root, config.split, shared[chosen].tolist())
    comparison = Comparison(
        images=len(shared),
        skipped=skipped,
        disagreements=len(differ),
        split=config.split,
        a=_compared(path_a, subject_a, a),
        b=_compared(path_b, subject_b, b),
        both_right=int((a.correct & b.correct).sum()),
        only_a_right=int((a.correct & ~b.correct).sum()),
        only_b_right=int((~a.correct & b.correct).sum()),
        both_wrong=int((~a.correct & ~b.correct).sum()),
        listed=tuple(
            _disagreement(image.name, index, a, b, contents.classes)
            for index, image in zip(chosen, images, strict=True)
        ),
    )
    return comparison, images


def _compared(checkpoint: Path, subject: Subject, found: Predictions) -> ComparedCheckpoint:
    return ComparedCheckpoint(
        checkpoint=checkpoint,
        model=subject.model,
        epoch=subject.epoch,
        loss=float(found.losses.mean()),
        top1=float(found.correct.mean()),
        top5=float(found.top5.mean()),
    )


def _disagreement(
    file: str, index: int, a: Predictions, b: Predictions, classes: tuple[ClassEntry, ...]
) -> Disagreement:
    return Disagreement(
        file=file,
        truth=classes[int(a.labels[index])],
        a=_prediction(a, index, classes),
        b=_prediction(b, index, classes),
        gap=float(b.truth_probability[index] - a.truth_probability[index]),
    )


def _prediction(found: Predictions, index: int, classes: tuple[ClassEntry, ...]) -> Prediction:
    return Prediction(
        label=classes[int(found.best[index])],
        probability=float(found.best_probability[index]),
        truth_probability=float(found.truth_probability[index]),
        correct=bool(found.correct[index]),
    )
