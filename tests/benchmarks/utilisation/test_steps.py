"""What counts as utilisation, with a clock that only a test moves."""

from collections.abc import Iterable, Iterator

import pytest
import torch

from feedline.benchmarks.utilisation.accelerators import ACCELERATORS, H100, utilisation_of
from feedline.benchmarks.utilisation.pace import LEAST_STEPS, Pace, Word
from feedline.benchmarks.utilisation.steps import Emulated, emulate
from feedline.loaders import Batch
from feedline.prep import MeasurementError

ONE_IMAGE = Batch(
    images=torch.zeros((1, 3, 1, 1), dtype=torch.uint8),
    labels=torch.zeros(1, dtype=torch.int64),
    indexes=torch.zeros(1, dtype=torch.int64),
)


class Clock:
    """A clock that stands still until something takes time."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def take(self, seconds: float) -> None:
        self.now += seconds


class Source:
    """Epochs of batches that take known times to load."""

    def __init__(self, clock: Clock, loads: Iterable[float]) -> None:
        self._clock, self._loads = clock, tuple(loads)

    def set_epoch(self, epoch: int) -> None:
        pass

    def __iter__(self) -> Iterator[Batch]:
        for seconds in self._loads:
            self._clock.take(seconds)
            yield ONE_IMAGE


def emulated(loads: Iterable[float], words: Iterable[Word], *, compute: float, waits: float = 0.0) -> Emulated:
    """Emulate an accelerator that computes ``compute`` seconds, and then waits ``waits`` seconds for the others."""
    clock, answers = Clock(), iter(words)

    def wait() -> Word:
        clock.take(waits)
        return next(answers)

    return emulate(Source(clock, loads), lambda images: images * compute, wait, clock=clock, sleep=clock.take)


def test_utilisation_is_computing_over_computing_and_loading() -> None:
    """3 s of computing for each second of loading are 75 %; the warm-up does not count."""
    found = emulated([9, *[1] * 9], ["go", "count", *["go"] * 5, "stop"], compute=3)

    assert (found.steps, found.compute_seconds, found.seconds) == (6, 18, 24)
    assert (found.au, found.images_per_second, found.epochs) == (0.75, 0.25, 1)


def test_the_first_step_of_each_epoch_is_left_out_of_utilisation_but_not_of_images() -> None:
    """Epochs of 3 steps whose first takes 50 s to load: 4 s of computing of 5 s count, and all images do."""
    found = emulated([50, 1, 1], ["go", "go", "count", *["go"] * 5, "stop"], compute=4)

    assert (found.steps, found.au, found.epochs) == (4, 0.8, 3)
    assert (found.images, found.whole_seconds) == (6, 2 * (54 + 5 + 5))


def test_waiting_for_slower_accelerators_lowers_the_utilisation() -> None:
    """All accelerators make a step at a time, so the fast ones are idle until the slowest has its batch."""
    assert emulated([0] * 9, ["count", "go", "stop"], compute=1, waits=1).au == 0.5


def test_a_loader_that_is_never_late_gives_full_utilisation() -> None:
    """All loading is hidden by computing."""
    assert emulated([0] * 9, ["count", "go", "stop"], compute=0.224).au == pytest.approx(1)


@pytest.mark.parametrize(("loads", "sentence"), [([], "smaller than one batch"), ([1], "0 steps that count")])
def test_too_few_batches_are_one_sentence(loads: list[float], sentence: str) -> None:
    """Without a batch nothing can be emulated; with one for each epoch, no step counts."""
    with pytest.raises(MeasurementError, match=f"{sentence}.*--batch-size"):
        emulated(loads, ["count", "go", "go", "stop"], compute=1)


def test_the_pace_warms_up_and_then_counts_for_its_seconds() -> None:
    """6 s of measuring after 2 s of warm-up, in steps of 0.5 s."""
    clock = Clock()
    pace, words = Pace(6, clock), list[Word]()
    while "stop" not in words:
        words.append(pace.word())
        clock.take(0.5)

    assert words == [*["go"] * 4, "count", *["go"] * 11, "stop"]


def test_slow_steps_are_at_least_ten() -> None:
    """A step of 100 s is longer than the whole measuring time."""
    clock = Clock()
    pace, words = Pace(1, clock), list[Word]()
    while "stop" not in words:
        words.append(pace.word())
        clock.take(100)

    assert words == ["go", "count", *["go"] * (LEAST_STEPS - 1), "stop"]


def test_the_compute_times_are_those_of_the_standard() -> None:
    """0.224 s and 0.435 s for 400 images; an H100 that gets 893 images/s is busy half of the time."""
    rates = {name: round(accelerator.images_per_second) for name, accelerator in ACCELERATORS.items()}

    assert rates == {"h100": 1786, "a100": 920}
    assert H100.compute_seconds(200) == pytest.approx(0.112)
    assert utilisation_of(H100, 400 / 0.448) == utilisation_of(H100, 4 * 400 / 0.448, 4) == pytest.approx(0.5)
    assert utilisation_of(H100, 9999) == 1
