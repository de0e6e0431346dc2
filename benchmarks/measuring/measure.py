"""The measuring loop: it takes batches as a trainer would, and says how fast they came and whether they were right.

It knows only "epochs of batches" and a clock, so that every loader, ours or a peer's, is timed by the same
lines, and so that tests can time a fake loader with a fake clock. Time is taken on the consumer's side:

    iter() ---- first batch ---- warm-up windows ---- windows of the steady state ---- seconds are over

A window is closed by the first batch that arrives after ``seconds / WINDOWS``, and a run has at least three,
so that one run alone shows how much it wavers. Small data sets run several epochs: the gap from an epoch's
last batch to the next one's first (starting worker processes again, mostly) belongs to the window it falls
into, because a training run pays it too, and is kept apart as well, because a large data set hardly has any.

A cold run is one epoch at most: what was read once is warm. So it may end before the seconds are over, its last
window may be shorter than the others, and its warm-up is one window of the same epoch rather than a third of the
time. Nothing is read twice.

The consumer copies each batch once, as sending it to a device would. So every pixel must really be there, and
the ceiling that ``cached`` reaches is what memory can carry rather than how fast Python passes a pointer on.
Every batch is checked while it is counted: a run that moved the wrong samples is an error, not a number.
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

WINDOWS = 10  # enough to see a run waver, few enough that each holds several batches
LEAST_WINDOWS = 3
WARMUP = 1 / 3  # of the asked seconds: fills the workers' queues and the allocator's caches

Clock = Callable[[], float]


class Epochs(Protocol):
    """What is measured: a loader, or anything else that yields epochs of batches."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Yield one epoch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The work that a loader has to do for its time to count."""

    classes: npt.NDArray[np.int64] | None
    """int64 (samples,): the class of each sample of the split; None where the manifest does not say."""
    samples: int
    image_size: int
    replays: bool = False
    """The loader hands out the same few samples again and again (``cached``): do not count each once."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """One stretch of time and the samples that arrived in it."""

    seconds: float
    samples: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The raw result of one run; statistics are made from it when a report is made, never before."""

    first_batch_seconds: float
    """From asking for the first epoch until its first batch was there: starting workers, opening files."""
    warmup: tuple[Window, ...]
    windows: tuple[Window, ...]
    gap_seconds: tuple[float, ...]
    """From an epoch's last batch to the next one's first, for each epoch that began inside the windows."""
    samples_seen: int
    label_sum: int
    """Sum of all labels handed out, warm-up included: equal for loaders that did equal work."""
    cpu_seconds: float | None
    """CPU time that the windows cost, over all processes; None where it cannot be known."""
    bytes_read: BytesRead | None = None
    """What the run read after opening the loader, first batch and warm-up included, by all processes; None where it
    cannot be known, and before schema 2."""
    bytes_read_in_windows: BytesRead | None = None
    """The part of it that fell into the windows: far less than its share where the kernel read ahead before them."""

    def __post_init__(self) -> None:
        seconds = [window.seconds for window in (*self.windows, *self.warmup)]
        if not self.windows or not all(math.isfinite(value) and value > 0 for value in seconds):
            raise MeasurementError("a measurement needs windows of more than 0 seconds each")
        if min(window.samples for window in self.windows) < 1:
            raise MeasurementError("a measurement needs at least one sample in each window")

    @property
    def images_per_second(self) -> float:
        """Samples of all windows over their seconds."""
        return self.samples / sum(w.seconds for w in self.windows)

    @property
    def whole_images_per_second(self) -> float:
        """All samples over all seconds since the first batch was asked for: nothing read ahead is left out."""
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
    clock: Clock = time.perf_counter,
    cpu_seconds: Callable[[], float | None] = lambda: None,
    bytes_read: Callable[[], BytesRead | None] = lambda: None,
) -> Measurement:
    """Take batches for ``seconds`` after a warm-up of a third of that, epoch after epoch.

    With ``one_epoch`` the run ends with its first epoch at the latest, after a warm-up of a tenth of ``seconds``.
    Raises MeasurementError when a batch is not the work that ``expected`` describes, and when the one epoch is
    over before there is a window.
    """
    consumer = _Consumer(epochs, expected, clock, one_epoch)
    read = [bytes_read()]
    consumer.take()
    length = seconds / WINDOWS
    warmup = consumer.windows(length, length if one_epoch else seconds * WARMUP, least=1)
    gaps_before = len(consumer.gaps)
    cpu_before = cpu_seconds()
    read.append(bytes_read())
    windows = consumer.windows(length, seconds, least=LEAST_WINDOWS)
    cpu_after = cpu_seconds()
    read.append(bytes_read())
    consumer.stop()
    if not windows:
        raise MeasurementError(
            f"the {expected.samples} samples were over after {consumer.elapsed:.2g} s, and a cold run reads nothing "
            f"twice; measure more images, or take shorter windows with --seconds {consumer.elapsed:.1g}"
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
    """Takes batch after batch, epoch after epoch, and notes when they came."""

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
        """Seconds from the beginning to the last batch."""
        return self._at - self._began

    def take(self) -> int:
        """Wait for the next batch and return its samples; 0 when the one epoch is over."""
        samples = next(self._batches, 0)
        self._ended = samples == 0
        return samples

    def windows(self, length: float, seconds: float, *, least: int) -> tuple[Window, ...]:
        """Take batches for ``seconds`` and at least ``least`` windows, each at least ``length`` seconds long.

        The end of the one epoch closes the last window early and leaves out the rest.
        """
        begin, closed = self._at, list[Window]()
        while not self._ended and (self._at - begin < seconds or len(closed) < least):
            opened, samples = self._at, 0
            while not self._ended and (self._at - opened < length or samples == 0):
                samples += self.take()
            if samples:
                closed.append(Window(seconds=self._at - opened, samples=samples))
        return tuple(closed)

    def stop(self) -> None:
        """Leave the running epoch."""
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
    """Checks that the loader hands out the images, labels and samples that it should.

    That each sample comes once is a matter of counting: as many handed out as the split has, and all seen.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._seen = np.zeros(expected.samples, np.bool_)
        self._handed_out = 0
        self.samples_seen = 0
        self.label_sum = 0

    def add(self, batch: Batch) -> None:
        indexes, labels = batch.indexes.numpy(), batch.labels.cpu().numpy()
        size, shape = self._expected.image_size, tuple(batch.images.shape[2:])
        if shape != (size, size):
            raise MeasurementError(f"the loader hands out images of {shape}, asked were {(size, size)}")
        if len(indexes) and not 0 <= indexes.min() <= indexes.max() < self._expected.samples:
            raise MeasurementError(
                f"the loader hands out samples {indexes.min()} to {indexes.max()}, "
                f"the split has 0 to {self._expected.samples - 1}"
            )
        self._check_labels(indexes, labels)
        self._seen[indexes] = True
        self._handed_out += len(indexes)
        self.samples_seen += len(indexes)
        self.label_sum += int(labels.sum())

    def end_epoch(self) -> None:
        """Judge a whole epoch: every sample of the split exactly once."""
        self._check_count(self._expected.samples)
        self._seen[:] = False
        self._handed_out = 0

    def end_run(self) -> None:
        """Judge an epoch that was left early: no sample twice."""
        self._check_count(self._handed_out)

    def _check_labels(self, indexes: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> None:
        if self._expected.classes is None:
            return
        wrong = np.flatnonzero(self._expected.classes[indexes] != labels)
        if len(wrong):
            sample, label = indexes[wrong[0]], labels[wrong[0]]
            raise MeasurementError(
                f"the loader labels sample {sample} as class {label}, "
                f"the manifest as class {self._expected.classes[sample]}"
            )

    def _check_count(self, owed: int) -> None:
        distinct = int(self._seen.sum())
        if self._handed_out == 0 and owed:
            raise MeasurementError("the loader's epoch has no batch at all")
        if not self._expected.replays and not self._handed_out == distinct == owed:
            raise MeasurementError(
                f"the loader handed out {self._handed_out} samples, {distinct} of them different, "
                f"where {owed} different ones were due; the run does not count"
            )
