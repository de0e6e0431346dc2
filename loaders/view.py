"""The samples of a split one by one: a map from sample index to image and label, as torch's data sets are.

It decodes with Pillow, as the reference does, so every loader's view shows the same pixels. Its purpose is to look at
samples. A loop over it is slow.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..prep import SampleError
from ..prep.images.opening import UNREADABLE
from .pixels.reference import Pixels, draws_of, read_pixels
from .sampling.entries import class_entries
from .spec import LoaderSpec
from .support.encoded import EncodedSamples, bytes_of
from .support.samples import open_samples
from .transforms.samples import sample_transform_of


def class_ids(root: Path) -> tuple[str, ...]:
    """Return the ids of the classes of a root by class index, of its class folders or else of its shards."""
    return tuple(entry.id for entry in class_entries(root))


class SplitView:
    """A SampleView of the spec's split, opened at the first access."""

    def __init__(self, spec: LoaderSpec, samples: EncodedSamples | None = None) -> None:
        """Show ``samples``, which the caller closes, or those of the spec."""
        self._spec = spec
        self._given = samples
        self._transform = sample_transform_of(spec)
        self.epoch = 0
        """The epoch whose random crops it shows."""

    @cached_property
    def _samples(self) -> EncodedSamples:
        return self._given or open_samples(self._spec.root, self._spec.split)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        index = self._checked(index)
        (draws,) = draws_of([index], self.epoch, self._spec)
        try:
            pixels = read_pixels(bytes_of(self._samples, index), draws, self._spec)
        except UNREADABLE as error:
            raise SampleError(f"cannot decode {self._samples.name(index)}: {error}") from error
        return self._transformed(pixels, index), self._samples.labels_of(np.array([index])).item()

    def _transformed(self, pixels: Pixels, index: int) -> torch.Tensor:
        if self._transform is None:
            return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        (seed,) = self._transform.seeds(np.array([index]), self.epoch)
        return self._transform(pixels, seed, lambda: self._samples.name(index))

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        return self._samples.labels

    def key(self, index: int) -> str:
        return self._samples.key(self._checked(index))

    def close(self) -> None:
        """Release every file and mapping, if any was opened."""
        if self._given is None and "_samples" in self.__dict__:
            self._samples.close()
            del self._samples

    def _checked(self, index: int) -> int:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return place
