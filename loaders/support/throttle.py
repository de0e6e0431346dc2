"""A simulated slow disk: it limits the reads of a loader to a bandwidth and a latency.

Predictions for other storage must be checked, and no machine has every disk. The throttle replaces the disk in the
loader's own read path, under its real threads. All threads share one link of so many bytes per second, first come
first served. Each request also has a delay, and the delays of several requests overlap. The throttle is for measuring
only; no option of the command line uses it.
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
    """The limits. Raises LoaderError for invalid values."""

    bytes_per_second: float
    """The bandwidth of the link that all threads share."""
    seconds_per_request: float = 0.0
    """The time from the request of an image until its bytes begin to move; requests wait at the same time."""

    def __post_init__(self) -> None:
        if not (self.bytes_per_second > 0 and self.seconds_per_request >= 0):
            raise LoaderError(
                f"a throttle needs more than 0 bytes/s and at least 0 s per request, "
                f"got {self.bytes_per_second} and {self.seconds_per_request}"
            )


class ThrottledSamples:
    """EncodedSamples that are read no faster than ``throttle`` allows. Many threads can read at the same time."""

    def __init__(self, samples: EncodedSamples, throttle: Throttle) -> None:
        self._samples = samples
        self._throttle = throttle
        self._lock = threading.Lock()
        self._free_at = 0.0
        """The time at which the link has moved all bytes requested so far."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        return self._samples.labels

    def __len__(self) -> int:
        return len(self._samples)

    def labels_of(self, indexes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return self._samples.labels_of(indexes)

    def windows(self) -> Sequence[int]:
        return self._samples.windows()

    def in_window(self, window: int) -> npt.NDArray[np.int64]:
        return self._samples.in_window(window)

    def read(self, index: int) -> EncodedImage:
        """Return one image at the time when its bytes would have arrived."""
        image = self._samples.read(index)
        asked = time.perf_counter()
        with self._lock:
            begins = max(asked + self._throttle.seconds_per_request, self._free_at)
            arrives = self._free_at = begins + len(image.data) / self._throttle.bytes_per_second
        time.sleep(max(0.0, arrives - asked))
        return image

    def key(self, index: int) -> str:
        return self._samples.key(index)

    def name(self, index: int) -> str:
        return self._samples.name(index)

    def close(self) -> None:
        self._samples.close()
