"""The figures of an evaluation that are computed from its predictions: calibration, classes, confusions."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AliasChoices, Field

from ...prep import ClassEntry
from .predictions import Predictions

LISTED_CONFUSIONS = 10
CALIBRATION_BINS = 15  # as Guo et al., On Calibration of Modern Neural Networks, 2017


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """The accuracy on the images of one class."""

    id: Annotated[str, Field(validation_alias=AliasChoices("id", "wnid"))]
    """Its id in the manifest. Records before 0.2 call it ``wnid``."""
    name: str
    images: int
    top1: float | None
    """Share of the class's images that were recognised, 0 to 1; None for a class without images."""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """The images of one class that were predicted as another."""

    truth: ClassEntry
    taken_for: ClassEntry
    images: int
    share: float
    """Share of the images of ``truth``, 0 to 1."""


def calibration_error(predictions: Predictions) -> float:
    """Return the expected calibration error over equally wide bins of the highest probability (Guo et al., 2017)."""
    probability = predictions.best_probability
    bins = np.minimum((probability * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=probability - predictions.correct, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(probability))


def class_accuracies(predictions: Predictions, classes: tuple[ClassEntry, ...]) -> tuple[ClassAccuracy, ...]:
    """Return the accuracy on the images of each class, in class order."""
    images = np.bincount(predictions.labels, minlength=len(classes))
    right = np.bincount(predictions.labels[predictions.correct], minlength=len(classes))
    return tuple(
        ClassAccuracy(id=entry.id, name=entry.name, images=int(n), top1=float(hits / n) if n else None)
        for entry, n, hits in zip(classes, images, right, strict=True)
    )


def confusions(predictions: Predictions, classes: tuple[ClassEntry, ...]) -> tuple[Confusion, ...]:
    """Return the pairs of classes with the most images; pairs with equally many are in class order."""
    wrong = ~predictions.correct
    pairs, counts = np.unique(predictions.labels[wrong] * len(classes) + predictions.best[wrong], return_counts=True)
    images = np.bincount(predictions.labels, minlength=len(classes))
    found: list[Confusion] = []
    for place in np.argsort(-counts, kind="stable")[:LISTED_CONFUSIONS].tolist():
        truth, taken_for = divmod(int(pairs[place]), len(classes))
        found.append(
            Confusion(
                truth=classes[truth],
                taken_for=classes[taken_for],
                images=int(counts[place]),
                share=float(counts[place] / images[truth]),
            )
        )
    return tuple(found)
