"""A loader that Hugging Face Accelerate's ``prepare`` takes as it is.

``prepare`` would split the batches of a DataLoader over the processes, or send those of the main process to the
others. The loader has the share of its rank already. So it is marked as prepared, and has what Accelerate's own
DataLoader has: it puts batches on the device, reports the last batch of an epoch for gradient accumulation and
``gather_for_metrics``, and has its position saved by ``save_state`` and loaded by ``load_state``.
"""

from collections.abc import Callable, Iterator
from typing import Any

from accelerate.data_loader import DataLoaderStateMixin
from accelerate.state import GradientState, PartialState
from accelerate.utils.operations import send_to_device

from ...prep import LoaderError
from ..base import Loader
from ..batch import Batch
from .torch import Pair, TorchDataLoader


class AccelerateDataLoader(TorchDataLoader, DataLoaderStateMixin):
    """A DataLoader that yields the batches of a loader to an Accelerator."""

    use_stateful_dataloader = True
    """Accelerate then saves ``state_dict`` and loads it again."""

    def __init__(
        self,
        loader: Loader,
        *,
        form: Callable[[Batch], Any] | None = None,
        collate_fn: Callable[[list[Pair]], Any] | None = None,
        even_batches: bool = True,
    ) -> None:
        """Yield the batches of ``loader``, which ``close`` closes. Raises LoaderError if its rank is another.

        ``form`` and ``collate_fn`` are those of TorchDataLoader.
        ``even_batches`` gives all processes the same number of samples, as the Accelerator does by default.
        """
        state, spec = PartialState(), loader.spec
        if (spec.rank, spec.world_size) != (state.process_index, state.num_processes):
            raise LoaderError(
                f"the loader has the share of rank {spec.rank} of {spec.world_size}, this process is "
                f"{state.process_index} of {state.num_processes}; make the Accelerator before the LoaderSpec"
            )
        super().__init__(loader, form=form, collate_fn=collate_fn, even_batches=even_batches)
        self._is_accelerate_prepared = True
        self._drop_last = spec.drop_last
        self.device = state.device
        self.gradient_state = GradientState()

    @property
    def total_batch_size(self) -> int:
        return self.loader.spec.batch_size * self.loader.spec.world_size

    @property
    def total_dataset_length(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]  (as Accelerate's own)
        self.begin()
        try:
            for batch in super().__iter__():
                self.end_of_dataloader = self.batches.ended
                yield send_to_device(batch, self.device, non_blocking=True)
        finally:
            self.end()
