"""A check that a peer yields the right images: the colours of each crop are compared with those of its file.

Peers draw their own crops, so pixels cannot be compared one by one. But the mean colour of a crop is near that of its
own image, and far from that of any other. So the check finds black batches, swapped channels, labels of a neighbouring
sample and values scaled to 0..1. It runs on some batches after the timed part, so it costs no measured time.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from ...loaders import Batch
from ...prep import MeasurementError
from ...prep.images.opening import open_image
from ...prep.images.rgb import rgb_of
from ...prep.roots.samples import Sample
from ..measuring.measure import Epochs

SAMPLES = 256
NEARER = 0.7
"""Crops are 11 grey levels from their own images' means, 50 from others', 40 from their own with blue for red."""
OFFSET = 12.0
"""Grey levels by which the means over all crops and all images may differ: 2 to 7 are usual, as crops lack edges."""


def check_images(epochs: Epochs, samples: Sequence[Sample]) -> None:
    """Raise MeasurementError unless the batches of an epoch, or of two, show the images that their indexes name."""
    crops: list[npt.NDArray[np.float64]] = []
    indexes: list[int] = []
    for batch in _two_epochs(epochs):
        crops.append(batch.images.to(torch.float64).mean(dim=(2, 3)).numpy())
        indexes += batch.indexes.tolist()
        if len(indexes) >= SAMPLES:
            break
    require_likeness(np.concatenate(crops), np.array([_mean_colour(samples[index]) for index in indexes]))


def _two_epochs(epochs: Epochs) -> Iterator[Batch]:
    """Yield the batches of two epochs: some libraries go on where the timed part ended, with a few samples left."""
    for epoch in range(2):
        epochs.set_epoch(epoch)
        yield from epochs


def require_likeness(crops: npt.NDArray[np.float64], images: npt.NDArray[np.float64]) -> None:
    """Compare the mean colours of crops, float64 (N, 3) in 0 to 255, with those of their images.

    Raises MeasurementError if they are too far apart.
    """
    own = float(np.abs(crops - images).mean())
    others = {
        "those of other files": float(np.abs(crops - np.roll(images, 1, axis=0)).mean()),
        "their own in blue, green, red": float(np.abs(crops - images[:, ::-1]).mean()),
    }
    offset = float(np.abs((crops - images).mean(axis=0)).max())
    if offset > OFFSET:
        raise MeasurementError(f"the yielded images are on average {offset:.1f} grey levels off their files")
    for what, distance in others.items():
        if own > NEARER * distance:
            raise MeasurementError(
                f"the yielded images are {own:.1f} grey levels from their files and {distance:.1f} from {what}"
            )


def _mean_colour(sample: Sample) -> npt.NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # ImageNet has files with broken EXIF, whose pixels are valid
        image = open_image(sample.path.read_bytes())
        image.draft("RGB", (64, 64))  # decodes at down to an eighth of the size: the mean is the same
        return np.asarray(rgb_of(image), np.float64).mean(axis=(0, 1))
