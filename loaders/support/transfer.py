"""The way to the device: on a CUDA stream of its own, so that a batch travels while the last one is computed on.

Work on a CUDA stream is done in order. A copy on the trainer's stream would wait for the step before it, and the
next step for the copy; on another stream it runs beside the step, and only the next step waits. Memory belongs to
the stream that it was allocated on, so it is told who uses it then (``record_stream``), or torch would give it away
too early. Host memory that is pinned comes from torch's pool: a block goes back there when its batch is dropped and
is given out again once its copy is done, so an epoch pins no more than the batches under way.
"""

from contextlib import AbstractContextManager, nullcontext

import torch

from ..base import Batch, to_batch


class Transfer:
    """Makes batches on a device. On the CPU it is ``base.to_batch`` and nothing more."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def beside(self) -> AbstractContextManager[object]:
        """Launch what comes within on the stream that batches travel on."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def to_batch(self, images: torch.Tensor, labels: torch.Tensor, indexes: torch.Tensor) -> Batch:
        """Return ``base.to_batch``; the caller's stream, not the caller, waits for it."""
        if self._stream is None:
            return to_batch(images, labels, indexes, str(self.device))
        with self.beside():
            # From memory that is not pinned, the caller would wait for the images ahead on this stream.
            batch = to_batch(images, labels.pin_memory(), indexes, str(self.device))
        caller = torch.cuda.current_stream(self.device)
        caller.wait_stream(self._stream)
        for tensor in (batch.images, batch.labels):
            tensor.record_stream(caller)
        return batch
