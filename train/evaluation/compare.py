"""Two checkpoints on the same split: how often they disagree, and on which images most.

Two accuracies that are close say little: the models may be right on the same images or on different ones. So
every sample's two verdicts are laid side by side, and the images are listed on which the two differ most in the
probability that they give to the true class.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...prep import ClassEntry, Progress, silent
from .evaluate import EvaluateConfig, Predictions, predict
from .image_files import ImageFile, read_images


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one checkpoint says of one image."""

    label: ClassEntry
    """The class with the highest score."""
    probability: float
    """That it gives to this class, 0 to 1."""
    truth_probability: float
    """That it gives to the true class, 0 to 1."""
    correct: bool


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One image that the two put into different classes."""

    file: str
    """Relative to the root, with forward slashes; inside a shard, the shard's name and the member's."""
    truth: ClassEntry
    a: Prediction
    b: Prediction
    gap: float
    """The probability that b gives to the truth, less that of a: -1 to 1."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two checkpoints."""

    checkpoint: Path
    model: str
    epoch: int
    loss: float
    top1: float
    top5: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two checkpoints on one split."""

    images: int
    disagreements: int
    """Images whose highest score is of another class in a than in b."""
    split: str
    a: Side
    b: Side
    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int
    listed: tuple[Disagreement, ...]
    """The widest gaps first."""


def compare(
    checkpoints: tuple[Path, Path], config: EvaluateConfig, *, limit: int = 10, progress: Progress = silent
) -> tuple[Comparison, list[ImageFile]]:
    """Return the comparison of two checkpoints and the images that it lists, at most ``limit``.

    Each sees the images at its own image size. Raises TrainingError for a checkpoint that cannot be used or has
    other classes than the data set, DatasetError and LoaderError for the data.
    """
    about_a, contents, a = predict(checkpoints[0], config, progress)
    about_b, _, b = predict(checkpoints[1], config, progress)
    differ = np.flatnonzero(a.best != b.best)
    gaps = b.truth_probability - a.truth_probability
    chosen = differ[np.argsort(-np.abs(gaps[differ]), kind="stable")][:limit].tolist()
    images = read_images(config.root, config.split, chosen)
    listed = tuple(
        Disagreement(
            file=image.name,
            truth=contents.classes[int(a.labels[index])],
            a=_verdict(a, index, contents.classes),
            b=_verdict(b, index, contents.classes),
            gap=float(gaps[index]),
        )
        for index, image in zip(chosen, images, strict=True)
    )
    comparison = Comparison(
        images=len(a.labels),
        disagreements=len(differ),
        split=config.split,
        a=_side(checkpoints[0], about_a.config.model, len(about_a.history), a),
        b=_side(checkpoints[1], about_b.config.model, len(about_b.history), b),
        both_right=int((a.correct & b.correct).sum()),
        only_a_right=int((a.correct & ~b.correct).sum()),
        only_b_right=int((~a.correct & b.correct).sum()),
        both_wrong=int((~a.correct & ~b.correct).sum()),
        listed=listed,
    )
    return comparison, images


def _side(checkpoint: Path, model: str, epoch: int, found: Predictions) -> Side:
    return Side(
        checkpoint=checkpoint,
        model=model,
        epoch=epoch,
        loss=float(found.losses.mean()),
        top1=float(found.correct.mean()),
        top5=float(found.top5.mean()),
    )


def _verdict(found: Predictions, index: int, classes: tuple[ClassEntry, ...]) -> Prediction:
    return Prediction(
        label=classes[int(found.best[index])],
        probability=float(found.best_probability[index]),
        truth_probability=float(found.truth_probability[index]),
        correct=bool(found.correct[index]),
    )
