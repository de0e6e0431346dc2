"""The model's step in a measuring run: a real training step for each batch, or a wait of the same length.

A wait uses no CPU, so threads and worker processes can load the next batch during it, as they do while a GPU computes.
A real step on the CPU uses all CPUs that the process may use, as training does. Everything else in a measuring process
computes with one thread.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...loaders import Batch, LoaderSpec
from ...prep import MeasurementError, usable_cpus
from .measure import Epochs


@dataclass(frozen=True, kw_only=True)
class ModelStep:
    """What the model does with each batch: exactly one of the two. Raises MeasurementError for other values."""

    model: str | None = None
    """A training step of this model on the spec's device."""
    seconds_per_image: float | None = None
    """A wait of this length for each image of the batch."""

    def __post_init__(self) -> None:
        if (self.model is None) == (self.seconds_per_image is None):
            raise MeasurementError("a step needs either a model or a time in seconds, not both; give one of the two")
        if self.seconds_per_image is not None and not 0 < self.seconds_per_image < 60:
            raise MeasurementError(
                f"a step cannot take {self.seconds_per_image} s per image; give a time above 0 and below 60 s"
            )


class SteppedEpochs:
    """Epochs that yield each batch after the model's step on it."""

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
    """Return the function that runs the step on a batch. Raises TrainingError for an unknown model."""
    if step.model is not None:
        return _training(step.model, spec)
    seconds = step.seconds_per_image or 0.0
    return lambda batch: time.sleep(seconds * len(batch.indexes))


def _training(model: str, spec: LoaderSpec) -> Callable[[Batch], None]:
    # Imported here, so that other runs do not spend the trainer's time and memory.
    import torch

    from ...train.config import TrainConfig, resolved
    from ...train.data import default_loader, read_contents
    from ...train.engine import build_learner
    from ...train.models import build_model
    from ...train.ranks import Ranks
    from ...train.schedule import WARMUP_START
    from ...train.tally import Tally

    torch.set_num_threads(usable_cpus())
    config = TrainConfig(
        root=spec.root,
        out=spec.root,
        model=model,
        batch_size=spec.batch_size,
        image_size=spec.side,
        device=spec.device,
    )
    config = resolved(config)
    classes = len(read_contents(spec.root, default_loader(spec.root)).classes)
    network = build_model(model, classes, stem=config.stem, seed=spec.seed, image_size=spec.side)
    assert config.lr is not None
    rate = WARMUP_START * config.lr  # the start of the warm-up: no loss diverges
    learner, tally, steps = (
        build_learner(network, config, Ranks(device=spec.device)),
        Tally(spec.device),
        itertools.count(),
    )

    def train(batch: Batch) -> None:
        tally.add(next(steps), learner.step(batch, rate))  # returns when the step before has ended, as in training

    return train
