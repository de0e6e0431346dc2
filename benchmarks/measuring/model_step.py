"""The model's part of a measuring run: a real training step for each batch, or a wait as long as one.

A wait burns no CPU, so that threads and worker processes may load the next batch meanwhile, as they do while a GPU
computes. A real step on the CPU takes all CPUs that the process may use, as training does, although everything else
in a measuring process computes with one thread.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...loaders import Batch, LoaderSpec
from ...prep import MeasurementError, usable_cpus
from .measure import Epochs

# More than any run takes: the learning rate stays within its warm-up, so that no loss runs away.
STEPS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ModelStep:
    """What happens to each batch: exactly one of the two."""

    model: str | None = None
    """A training step of this model on the spec's device."""
    seconds_per_image: float | None = None
    """A wait of so long for each image of the batch."""

    def __post_init__(self) -> None:
        if (self.model is None) == (self.seconds_per_image is None):
            raise MeasurementError("a step is either a model's or a time in seconds")
        if self.seconds_per_image is not None and not 0 < self.seconds_per_image < 60:
            raise MeasurementError(f"a step takes 0 to 60 s per image, got {self.seconds_per_image}")


class SteppedEpochs:
    """Epochs whose batches are handed out when the model is done with them."""

    def __init__(self, epochs: Epochs, step: Callable[[Batch], None]) -> None:
        self._epochs = epochs
        self._step = step

    def set_epoch(self, epoch: int) -> None:
        self._epochs.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._epochs:
            self._step(batch)
            yield batch


def step_function(step: ModelStep, spec: LoaderSpec) -> Callable[[Batch], None]:
    """Return what does the step to a batch. Raises TrainingError for a model that does not exist."""
    if step.model is not None:
        return _training(step.model, spec)
    seconds = step.seconds_per_image or 0.0
    return lambda batch: time.sleep(seconds * len(batch.indexes))


def _training(model: str, spec: LoaderSpec) -> Callable[[Batch], None]:
    # Imported here: other runs shall not carry the trainer's time and memory.
    import torch

    from ...train.config import TrainConfig, resolved
    from ...train.data import default_loader, read_contents
    from ...train.engine import build_learner
    from ...train.models import build_model
    from ...train.ranks import Ranks

    torch.set_num_threads(usable_cpus())
    config = TrainConfig(
        root=spec.root,
        out=spec.root,
        model=model,
        batch_size=spec.batch_size,
        image_size=spec.image_size,
        device=spec.device,
    )
    config = resolved(config)
    classes = len(read_contents(spec.root, default_loader(spec.root)).classes)
    network = build_model(model, classes, stem=config.stem, seed=spec.seed)
    learner = build_learner(network, config, STEPS, Ranks(device=spec.device))

    def train(batch: Batch) -> None:
        learner.step(batch)  # ends when its sums have reached the CPU, so nothing is left to wait for

    return train
