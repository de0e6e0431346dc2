"""``sample_transform``: a call per sample, and the tensor of a batch that the results are written to."""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...prep import LoaderError
from ..spec import LoaderSpec
from .calls import Call
from .seeding import sample_seeds

U8 = npt.NDArray[np.uint8]

_CPU = torch.device("cpu")


class SampleTransform:
    """The spec's ``sample_transform``. It can be called by many threads, and sent to worker processes."""

    def __init__(self, transform: Callable[..., Any], spec: LoaderSpec) -> None:
        self._call = Call("sample_transform", transform)
        self._seed = spec.seed
        self._pinned = spec.device.startswith("cuda")

    def seeds(self, keys: npt.NDArray[np.int64], epoch: int) -> list[int]:
        """Return the seeds of the samples with these draw keys, for ``__call__``."""
        return sample_seeds(keys, self._seed, epoch)

    def __call__(
        self, pixels: npt.NDArray[np.uint8] | torch.Tensor, seed: int, name: Callable[[], str]
    ) -> torch.Tensor:
        """Return the transform's tensor for a sample, uint8 (H, W, 3).

        The transform gets it as (3, H, W) without a copy. Its memory layout is the same in every loader, because the
        numbers that ``torch.randn_like`` draws depend on it. Raises TransformError, which has the sample's ``name``.
        """
        image = torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels
        result = self._call(seed, _CPU, name, image.permute(2, 0, 1))
        if not isinstance(result, torch.Tensor):
            raise self._call.failed(name(), f"it returned {type(result).__name__} instead of a tensor")
        if result.device.type != "cpu":
            raise self._call.failed(
                name(), f"it returned a tensor on {result.device}; leave it on the CPU, or use batch_transform"
            )
        return result

    def rows(self, count: int) -> "Rows":
        """Return the memory for the results of ``count`` samples."""
        return Rows(count, self._call, pinned=self._pinned)


class Rows:
    """The results of a batch's samples in one tensor, which the first result makes. Many threads may write."""

    def __init__(self, count: int, call: Call, *, pinned: bool) -> None:
        self._count = count
        self._call = call
        self._pinned = pinned
        self._lock = Lock()
        self._tensor: torch.Tensor | None = None

    def put(self, row: int, result: torch.Tensor, name: Callable[[], str]) -> None:
        """Write one result. Raises TransformError for another shape or type than that of the batch."""
        with self._lock:
            if self._tensor is None:
                self._tensor = self._make(result)
        first = self._tensor[row]
        if result.shape != first.shape or result.dtype != first.dtype:
            raise self._call.failed(
                name(),
                f"it returned {_describe(result)}, and {_describe(first)} for another sample of the batch; "
                "return tensors of one shape and type",
            )
        first.copy_(result.detach())

    def tensor(self) -> torch.Tensor:
        """Return the batch, (N, ...), in channels_last if the results have three dimensions."""
        return torch.empty((self._count, 0), device="cpu") if self._tensor is None else self._tensor

    def _make(self, result: torch.Tensor) -> torch.Tensor:
        layout = torch.channels_last if result.ndim == 3 else torch.contiguous_format
        shape = (self._count, *result.shape)
        return torch.empty(shape, dtype=result.dtype, device="cpu", memory_format=layout, pin_memory=self._pinned)


def sample_transform_of(spec: LoaderSpec) -> SampleTransform | None:
    """Return the sample transform of a spec, or None."""
    return None if spec.sample_transform is None else SampleTransform(spec.sample_transform, spec)


def join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return results that were stacked apart as one tensor. Raises LoaderError if they have other shapes or types."""
    kinds = {_describe(part[0]) for part in parts}
    if len(kinds) > 1:
        raise LoaderError(
            f"sample_transform returned {' and '.join(sorted(kinds))} in one batch; "
            "return tensors of one shape and type"
        )
    return torch.cat(list(parts))


def _describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
