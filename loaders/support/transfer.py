"""The transfer of batches to the device, on a CUDA stream of its own: a batch is copied during the step on the last.

Work on a CUDA stream runs in order. A copy on the trainer's stream would wait for the step before it, and the next
step would wait for the copy. On another stream, the copy runs at the same time as the step, and only the next step
waits. Memory belongs to the stream on which it was allocated. ``record_stream`` marks it as used by another
stream too; otherwise torch would reuse it too early. Pinned host memory comes from torch's pool. A block returns to the
pool when its batch is dropped and is reused after its copy is done. So an epoch pins no more than the batches under
way.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from ..batch import Batch, to_batch


class Transfer:
    """Makes batches on a device. On the CPU it only calls ``batch.to_batch``."""

    def __init__(self, device: str, *, ahead: bool = False) -> None:
        """Copy to ``device``; ``ahead`` if the batches are worked on before ``hand_over`` gives them to the caller."""
        self.device = torch.device(device)
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._ahead = ahead

    def beside(self) -> AbstractContextManager[object]:
        """Return a context that launches CUDA work on the stream of the copies."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def to_batch(
        self,
        images: torch.Tensor | list[torch.Tensor],
        labels: torch.Tensor,
        indexes: torch.Tensor,
        *,
        transformed: bool = False,
    ) -> Batch:
        """Return ``batch.to_batch``. The caller's stream waits for the copy; the caller does not."""
        if self._stream is None:
            return to_batch(images, labels, indexes, str(self.device), transformed=transformed)
        with self.beside():
            # Labels in unpinned memory would make the caller wait for the images ahead on this stream.
            batch = to_batch(images, labels.pin_memory(), indexes, str(self.device), transformed=transformed)
        if not self._ahead:
            self.hand_over(batch, self.record())
        return batch

    def record(self) -> Any:
        """Return an event after all that was launched on the stream of the copies, or None without a GPU."""
        return None if self._stream is None else self._stream.record_event()

    def hand_over(self, batch: Batch, event: Any) -> None:
        """Let the caller's stream wait for the event, and keep the batch's memory until that stream is done with it."""
        if event is None:
            return
        caller = torch.cuda.current_stream(self.device)
        caller.wait_event(event)
        for part in (batch.images, batch.labels):
            for tensor in part if isinstance(part, list) else [part]:
                if tensor.device.type == "cuda":
                    tensor.record_stream(caller)
