"""The loop of one emulated accelerator: load a batch, compute for its published time, wait for the others.

The process that started the accelerators answers each wait with a word (``pace``): go on, count from now, or stop. So
all accelerators count the same steps and stop after the same one, whatever the speed of the loader is.

                 first step of an epoch                 step                 step
    epoch ---- load ---- compute ---- wait ---- load - compute - wait - load - compute - wait ---- epoch
          [     left out of AU      ][              seconds                                  ]
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...prep import MeasurementError
from ..measuring.measure import Clock, Epochs
from .pace import Word


@dataclass(frozen=True, kw_only=True)
class Emulated:
    """The raw result of one accelerator. Raises MeasurementError if no step counts."""

    steps: int
    """Counted steps: all after the warm-up, without the first of each epoch."""
    compute_seconds: float
    """The published compute time of these steps."""
    seconds: float
    """The time from the end of the warm-up to the last wait, without the loading and computing of first steps."""
    images: int
    """All images since the end of the warm-up, first steps included."""
    whole_seconds: float
    """The time since the end of the warm-up, first steps included."""
    epochs: int
    """Epochs that were begun, warm-up included."""
    cpu_seconds: float | None
    """CPU time of this time, over all processes of the accelerator; None if it cannot be determined."""

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.compute_seconds > 0 or not self.seconds > 0:
            raise MeasurementError(
                f"the emulated accelerator made {self.steps} steps that count, because the first of each epoch does "
                f"not; use a smaller --batch-size or more images"
            )

    @property
    def au(self) -> float:
        """The utilisation, 0 to 1."""
        return self.compute_seconds / self.seconds

    @property
    def images_per_second(self) -> float:
        """Images/s with first steps, as MLPerf Storage counts samples/s."""
        return self.images / self.whole_seconds


def emulate(
    epochs: Epochs,
    compute_seconds: Callable[[int], float],
    wait: Callable[[], Word],
    *,
    clock: Clock = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
    cpu_seconds: Callable[[], float | None] = lambda: None,
) -> Emulated:
    """Take steps, epoch after epoch, until ``wait`` returns STOP; return what was counted since it returned COUNT.

    ``compute_seconds`` returns the compute time of a batch of so many images. ``wait`` returns when all accelerators
    have made the step. Raises MeasurementError if an epoch has no batch, or if no step counts.
    """
    counts, begin, cpu_before = _Counts(), clock(), None
    for epoch in itertools.count():
        epochs.set_epoch(epoch)
        began, number = clock(), 0
        for number, batch in enumerate(epochs, 1):
            images = len(batch.indexes)
            computing = compute_seconds(images)
            sleep(computing)
            computed = clock()
            word = wait()
            counts.add(images, computing, first_seconds=computed - began if number == 1 else None)
            if word == "count":
                counts, begin, cpu_before = _Counts(), clock(), cpu_seconds()
            elif word == "stop":
                ended, cpu_after = clock(), cpu_seconds()
                used = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
                return counts.result(ended - begin, epochs=epoch + 1, cpu_seconds=used)
        if number == 0:
            raise MeasurementError(
                "an accelerator's share of the split is smaller than one batch; use a smaller --batch-size"
            )
    raise AssertionError("epochs do not end")  # pragma: no cover


class _Counts:
    """The sums over the steps since the end of the warm-up."""

    def __init__(self) -> None:
        self.steps = self.images = 0
        self.compute_seconds = self.left_out = 0.0

    def add(self, images: int, computing: float, *, first_seconds: float | None) -> None:
        """Add a step; ``first_seconds`` is the time of loading and computing if it is the first of its epoch."""
        self.images += images
        if first_seconds is not None:
            self.left_out += first_seconds
            return
        self.steps += 1
        self.compute_seconds += computing

    def result(self, seconds: float, *, epochs: int, cpu_seconds: float | None) -> Emulated:
        return Emulated(
            steps=self.steps,
            compute_seconds=self.compute_seconds,
            seconds=seconds - self.left_out,
            images=self.images,
            whole_seconds=seconds,
            epochs=epochs,
            cpu_seconds=cpu_seconds,
        )
