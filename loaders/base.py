"""The interface of all loaders: a loader takes a spec and yields batches."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch

from .batch import Batch
from .spec import LoaderSpec


class SampleView(Protocol):
    """A split as a map from sample index to sample, for a look at single samples; batches are what is fast."""

    def __len__(self) -> int:
        """Return the number of samples in the split, of all ranks."""
        ...

    def __getitem__(self, index: int, /) -> tuple[torch.Tensor, int]:
        """Return (image, label): the image uint8 (3, H, W) as in the loader's epoch under way.

        Raises IndexError beyond the last sample, and SampleError for an image that cannot be decoded.
        """
        ...

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The class index of each sample, int64 (samples,)."""
        ...

    def key(self, index: int, /) -> str:
        """Return the key of a sample."""
        ...


class Loader(Protocol):
    """Batches of one rank's share of a split, one epoch per iteration. ``close`` ends its workers.

    A loader is a context manager that closes itself.
    """

    @property
    def spec(self) -> LoaderSpec:
        """The spec that the loader was opened with."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """The ids of the classes by class index."""
        ...

    @property
    def batch_size(self) -> int:
        """The batch size of the spec."""
        ...

    @property
    def samples(self) -> int:
        """The number of samples in an epoch of all ranks together, with those that ``drop_last`` drops."""
        ...

    @property
    def dataset(self) -> SampleView:
        """The split's samples one by one, chosen or not: ``loader.dataset[7]`` is ``(image, label)``."""
        ...

    def __len__(self) -> int:
        """Return the exact number of batches in this rank's epoch."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Begin the next epoch, or the rest of an epoch after ``load_state_dict`` in the middle of it.

        An epoch counts as begun when its first batch is yielded. An iteration that was left early is not repeated.
        When a new iteration begins, or ``set_epoch``, ``load_state_dict`` or ``close`` is called, the iteration before
        ends: its next batch raises LoaderError.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    @property
    def skipped(self) -> Mapping[int, str]:
        """The damaged samples skipped so far: name and reason by sample index. Each was logged once."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields, from its first batch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the position in it: the samples before it were yielded and are not yielded again.

        The values are those of JSON, so the state can be kept in any checkpoint.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken: the next iteration begins with the batch that followed.

        Raises LoaderError for a state of another seed or choice of samples, and for what is no state.
        """
        ...

    def close(self) -> None:
        """End every worker and release every file and memory segment. A second call does nothing."""
        ...


class Stages(Protocol):
    """The functions that a loader calls to make a batch, separated so that each can be timed.

    A caller calls ``fetch``, ``decode`` and ``transform`` for each image, then ``collate`` once for the batch. They run
    in the caller's thread. ``draws`` are the sample's random numbers from ``draws_of``.
    """

    def fetch(self, index: int, /) -> Any:
        """Return one encoded image: bytes, or an ``EncodedImage`` whose pages may not be in memory yet."""
        ...

    def decode(self, encoded: Any, draws: Sequence[float]) -> Any:
        """Return the pixels of an image that ``fetch`` returned, for ``transform``, in a form of the loader's own."""
        ...

    def transform(self, decoded: Any, draws: Sequence[float], row: torch.Tensor) -> Any:
        """Return the sample made from what ``decode`` returned, or write it to ``row``, uint8 (H, W, 3)."""
        ...

    def collate(self, samples: Sequence[Any], images: torch.Tensor) -> torch.Tensor:
        """Return the batch, uint8 (N, H, W, 3): ``images``, whose rows ``transform`` received, or a new tensor."""
        ...

    def close(self) -> None:
        """Release every file and mapping. A second call does nothing."""
        ...
