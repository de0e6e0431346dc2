"""The measuring loop: it takes batches as a trainer does, times them, and checks that they are correct.

Its only inputs are epochs of batches and a clock. Every loader, feedline's or a peer's, is timed by the same lines,
and tests can time a fake loader with a fake clock. Time is taken on the consumer's side:

    iter() ---- first batch ---- warm-up windows ---- windows of the steady state ---- seconds are over

The first batch that arrives after ``seconds / WINDOWS`` closes a window. A run has at least three windows, so that one
run alone shows its spread. On a small data set a run takes several epochs. The gap from the last batch of an epoch to
the first batch of the next is mostly the time to start worker processes again. It counts in the window in which it
falls, because a training has it too. It is also stored separately, because a large data set has almost none.

A cold run takes one epoch at most, because data that were read once are warm. It may therefore end before the seconds
are over, and its last window may be shorter than the others. Its warm-up is one window of the same epoch instead of a
third of the time. No sample is read twice.

The consumer copies each batch once, as sending it to a device would. So every pixel must exist, and the ceiling that
``cached`` reaches is the bandwidth of memory and not the time in which Python passes a pointer. Every batch is checked
while it is counted. A run that moved the wrong samples ends with an error and has no rate.
"""

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ...loaders import Batch
from ...prep import MeasurementError
from ..machine.process_usage import BytesRead

WINDOWS = 10  # enough to show the spread of a run, few enough that each has several batches
LEAST_WINDOWS = 3
WARMUP = 1 / 3  # of the requested seconds: fills the workers' queues and the allocator's caches

Clock = Callable[[], float]


class Epochs(Protocol):
    """A loader, or anything else that yields epochs of batches."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Yield one epoch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The work that a loader must do for its time to count."""

    classes: npt.NDArray[np.int64] | None
    """int64 (samples,): the class index of each sample of the split; None if the manifest does not list the classes."""
    samples: int
    image_size: int
    replays: bool = False
    """Whether the loader repeats the same few samples (``cached``), so that each may come more than once."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A period of time and the samples that arrived in it."""

    seconds: float
    samples: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The raw result of one measuring run. Statistics are only computed from it when a report is made."""

    first_batch_seconds: float
    """From the request for the first epoch to its first batch: starting workers, opening files."""
    warmup: tuple[Window, ...]
    windows: tuple[Window, ...]
    gap_seconds: tuple[float, ...]
    """From the last batch of an epoch to the first of the next, for each epoch that began inside the windows."""
    samples_seen: int
    label_sum: int
    """Sum of all labels that the loader yielded, warm-up included; equal for loaders that did equal work."""
    cpu_seconds: float | None
    """CPU time of the windows, over all processes; None if it cannot be determined."""
    bytes_read: BytesRead | None = None
    """Bytes that all processes of the run read after the loader was opened, first batch and warm-up included; None if
    they cannot be determined, and before schema 2."""
    bytes_read_in_windows: BytesRead | None = None
    """The part of these bytes that was read inside the windows; small if the kernel read ahead before them."""

    def __post_init__(self) -> None:
        seconds = [window.seconds for window in (*self.windows, *self.warmup)]
        if not self.windows or not all(math.isfinite(value) and value > 0 for value in seconds):
            raise MeasurementError("a measurement needs windows of more than 0 seconds each; measure again")
        if min(window.samples for window in self.windows) < 1:
            raise MeasurementError("a measurement needs at least one sample in each window; measure again")

    @property
    def images_per_second(self) -> float:
        """Samples of all windows divided by their seconds."""
        return self.samples / sum(w.seconds for w in self.windows)

    @property
    def whole_images_per_second(self) -> float:
        """All samples divided by all seconds since the request for the first batch, so that read-ahead counts too."""
        seconds = sum(window.seconds for window in (*self.warmup, *self.windows))
        return self.samples_seen / (self.first_batch_seconds + seconds)

    @property
    def samples(self) -> int:
        """Samples of all windows."""
        return sum(window.samples for window in self.windows)


def measure(
    epochs: Epochs,
    expected: Expected,
    seconds: float,
    *,
    one_epoch: bool = False,
    settled: Callable[[], bool] = lambda: True,
    clock: Clock = time.perf_counter,
    cpu_seconds: Callable[[], float | None] = lambda: None,
    bytes_read: Callable[[], BytesRead | None] = lambda: None,
) -> Measurement:
    """Take batches for ``seconds``, epoch after epoch, after a warm-up of a third of ``seconds``; return the result.

    With ``one_epoch`` the run ends with its first epoch at the latest, after a warm-up of a tenth of ``seconds``. The
    warm-up goes on until ``settled`` returns True, which is asked at the end of each of its windows.
    Raises MeasurementError if a batch is not the work that ``expected`` describes, and if the one epoch ends before
    the first window is closed.
    """
    consumer = _Consumer(epochs, expected, clock, one_epoch)
    read = [bytes_read()]
    consumer.take()
    length = seconds / WINDOWS
    warmup = consumer.windows(length, length if one_epoch else seconds * WARMUP, least=1, enough=settled)
    gaps_before = len(consumer.gaps)
    cpu_before = cpu_seconds()
    read.append(bytes_read())
    windows = consumer.windows(length, seconds, least=LEAST_WINDOWS)
    cpu_after = cpu_seconds()
    read.append(bytes_read())
    consumer.stop()
    if not windows:
        raise MeasurementError(
            f"the epoch of {expected.samples} samples ended after {consumer.elapsed:.2g} s, and a cold run reads no "
            f"sample twice; measure more images, or use shorter windows with --seconds {consumer.elapsed:.1g}"
        )
    return Measurement(
        first_batch_seconds=consumer.gaps[0],
        warmup=warmup,
        windows=windows,
        gap_seconds=tuple(consumer.gaps[gaps_before:]),
        samples_seen=consumer.audit.samples_seen,
        label_sum=consumer.audit.label_sum,
        cpu_seconds=None if cpu_before is None or cpu_after is None else cpu_after - cpu_before,
        bytes_read=_between(read[0], read[2]),
        bytes_read_in_windows=_between(read[1], read[2]),
    )


def _between(before: BytesRead | None, after: BytesRead | None) -> BytesRead | None:
    return None if before is None or after is None else after.since(before)


class _Consumer:
    """Takes batch after batch, epoch after epoch, and stores when they arrived."""

    def __init__(self, epochs: Epochs, expected: Expected, clock: Clock, one_epoch: bool) -> None:
        self.audit = _Audit(expected)
        self.gaps: list[float] = []
        self._clock = clock
        self._began = self._at = clock()
        self._copied: torch.Tensor | None = None
        self._batches = self._taken(epochs, 1 if one_epoch else None)
        self._ended = False

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the last batch."""
        return self._at - self._began

    def take(self) -> int:
        """Wait for the next batch and return its number of samples; 0 if the one epoch is over."""
        samples = next(self._batches, 0)
        self._ended = samples == 0
        return samples

    def windows(
        self, length: float, seconds: float, *, least: int, enough: Callable[[], bool] = lambda: True
    ) -> tuple[Window, ...]:
        """Take batches for ``seconds`` and at least ``least`` windows, each at least ``length`` seconds long.

        Further windows follow until ``enough`` returns True.

        The end of the one epoch closes the last window early, and no more windows follow.
        """
        begin, closed = self._at, list[Window]()
        while not self._ended and (self._at - begin < seconds or len(closed) < least or not enough()):
            opened, samples = self._at, 0
            while not self._ended and (self._at - opened < length or samples == 0):
                samples += self.take()
            if samples:
                closed.append(Window(seconds=self._at - opened, samples=samples))
        return tuple(closed)

    def stop(self) -> None:
        """Close the running epoch."""
        self._batches.close()
        self.audit.end_run()

    def _copy(self, images: torch.Tensor) -> None:
        if self._copied is None or self._copied.shape != images.shape:
            self._copied = torch.empty_like(images)
        self._copied.copy_(images)

    def _taken(self, epochs: Epochs, most: int | None) -> Generator[int, None, None]:
        for epoch in itertools.islice(itertools.count(), most):
            epochs.set_epoch(epoch)
            asked = self._at
            for number, batch in enumerate(epochs):
                self._copy(batch.images)
                self._at = self._clock()
                if number == 0:
                    self.gaps.append(self._at - asked)
                self.audit.add(batch)
                yield len(batch.indexes)
            self.audit.end_epoch()


class _Audit:
    """Checks that the loader yields the images, labels and samples that it should.

    Each sample came once if the loader yielded as many samples as the split has and every sample was seen.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._seen = np.zeros(expected.samples, np.bool_)
        self._yielded = 0
        self.samples_seen = 0
        self.label_sum = 0

    def add(self, batch: Batch) -> None:
        indexes, labels = batch.indexes.numpy(), batch.labels.cpu().numpy()
        size, shape = self._expected.image_size, tuple(batch.images.shape[2:])
        if shape != (size, size):
            raise MeasurementError(
                f"the loader yields images of {shape} instead of {(size, size)}; the run does not count"
            )
        if len(indexes) and not 0 <= indexes.min() <= indexes.max() < self._expected.samples:
            raise MeasurementError(
                f"the loader yields samples {indexes.min()} to {indexes.max()}, and the split has samples 0 to "
                f"{self._expected.samples - 1}; the run does not count"
            )
        self._check_labels(indexes, labels)
        self._seen[indexes] = True
        self._yielded += len(indexes)
        self.samples_seen += len(indexes)
        self.label_sum += int(labels.sum())

    def end_epoch(self) -> None:
        """Check a whole epoch: every sample of the split exactly once."""
        self._check_count(self._expected.samples)
        self._seen[:] = False
        self._yielded = 0

    def end_run(self) -> None:
        """Check an epoch that was closed early: no sample twice."""
        self._check_count(self._yielded)

    def _check_labels(self, indexes: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> None:
        if self._expected.classes is None:
            return
        wrong = np.flatnonzero(self._expected.classes[indexes] != labels)
        if len(wrong):
            sample, label = indexes[wrong[0]], labels[wrong[0]]
            raise MeasurementError(
                f"the loader labels sample {sample} as class {label}, and the manifest as class "
                f"{self._expected.classes[sample]}; check the data with: feedline verify ROOT"
            )

    def _check_count(self, due: int) -> None:
        distinct = int(self._seen.sum())
        if self._yielded == 0 and due:
            raise MeasurementError("the loader's epoch has no batch; use a smaller batch size or more images")
        if not self._expected.replays and not self._yielded == distinct == due:
            raise MeasurementError(
                f"the loader yielded {self._yielded} samples, {distinct} of them different, instead of {due} "
                f"different samples; the run does not count"
            )
