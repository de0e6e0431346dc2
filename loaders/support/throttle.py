"""A slow disk, made on purpose: what reads ``threaded``'s images, held to a bandwidth and a latency.

Predictions for other storage are only worth something when they are checked, and nobody has every disk at hand.
This stands where the disk stands, in the loader's own read path, under its real threads: one link of so many bytes
per second that all of them share, first come first served, and for each request a delay that they need not share.
A seam for measuring; no option of the command line leads here.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...prep import LoaderError
from .encoded import EncodedImage, EncodedSamples


@dataclass(frozen=True, kw_only=True)
class Throttle:
    """How slow. Raises LoaderError for values that make no sense."""

    bytes_per_second: float
    """Of the link that all threads share."""
    seconds_per_request: float = 0.0
    """From the request of an image until its bytes begin to move; requests wait side by side."""

    def __post_init__(self) -> None:
        if not (self.bytes_per_second > 0 and self.seconds_per_request >= 0):
            raise LoaderError(
                f"a throttle needs more than 0 bytes/s and at least 0 s per request, "
                f"got {self.bytes_per_second} and {self.seconds_per_request}"
            )


class ThrottledSamples:
    """EncodedSamples that come no faster than ``throttle`` allows. Reading is safe from many threads."""

    def __init__(self, samples: EncodedSamples, throttle: Throttle) -> None:
        self._samples = samples
        self._throttle = throttle
        self._lock = threading.Lock()
        self._free_at = 0.0
        """When the link has moved all that it was asked for so far."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        return self._samples.labels

    def windows(self) -> Sequence[npt.NDArray[np.int64]]:
        return self._samples.windows()

    def read(self, index: int) -> EncodedImage:
        """Return one image when its bytes would have arrived."""
        image = self._samples.read(index)
        asked = time.perf_counter()
        with self._lock:
            begins = max(asked + self._throttle.seconds_per_request, self._free_at)
            arrives = self._free_at = begins + len(image.data) / self._throttle.bytes_per_second
        time.sleep(max(0.0, arrives - asked))
        return image

    def name(self, index: int) -> str:
        return self._samples.name(index)

    def close(self) -> None:
        self._samples.close()
