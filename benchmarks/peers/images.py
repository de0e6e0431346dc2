"""Is what a peer hands out the picture that it should be? A crop is compared with the file that it is named after.

Peers draw their own crops, so pixels cannot be compared one by one. But a crop's mean colour is near that of its own
picture, and far from that of any other: black batches, swapped channels, labels that belong to the neighbour and
values scaled to 0..1 all show. Checked after the timed part, on some batches, so that nobody pays for it.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ...prep import MeasurementError
from ...prep.shards.samples import Sample
from ..measuring.measure import Epochs

SAMPLES = 256
NEARER = 0.7
"""Crops are 11 grey levels from their own pictures' means, 50 from others', 40 from their own with blue for red."""
OFFSET = 12.0
"""Grey levels by which the means over all crops and all pictures may differ: 2 to 7 do, as edges are cropped away."""


def check_pictures(epochs: Epochs, samples: Sequence[Sample]) -> None:
    """Raise MeasurementError unless the first batches of an epoch show the pictures that their indexes name."""
    epochs.set_epoch(0)
    crops: list[npt.NDArray[np.float64]] = []
    indexes: list[int] = []
    batches = iter(epochs)
    for batch in batches:
        crops.append(batch.images.to(torch.float64).mean(dim=(2, 3)).numpy())
        indexes += batch.indexes.tolist()
        if len(indexes) >= SAMPLES:
            break
    require_likeness(np.concatenate(crops), np.array([_mean_colour(samples[index]) for index in indexes]))


def require_likeness(crops: npt.NDArray[np.float64], pictures: npt.NDArray[np.float64]) -> None:
    """Compare mean colours float64 (N, 3), 0 to 255, of crops with those of the pictures they should be of."""
    own = float(np.abs(crops - pictures).mean())
    others = {
        "those of other files": float(np.abs(crops - np.roll(pictures, 1, axis=0)).mean()),
        "their own in blue, green, red": float(np.abs(crops - pictures[:, ::-1]).mean()),
    }
    offset = float(np.abs((crops - pictures).mean(axis=0)).max())
    if offset > OFFSET:
        raise MeasurementError(f"the pictures handed out are on average {offset:.1f} grey levels off their files")
    for what, distance in others.items():
        if own > NEARER * distance:
            raise MeasurementError(
                f"the pictures handed out are {own:.1f} grey levels from their files and {distance:.1f} from {what}"
            )


def _mean_colour(sample: Sample) -> npt.NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # ImageNet has files with broken EXIF; their pixels are fine
        with Image.open(sample.path) as picture:
            picture.draft("RGB", (64, 64))  # decoded at an eighth: the mean is the same
            return np.asarray(picture.convert("RGB"), np.float64).mean(axis=(0, 1))
