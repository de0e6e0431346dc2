"""The search for the most accelerators, on machines that are formulas."""

import itertools
import math
import random

import pytest

from feedline.benchmarks.utilisation.search import MOST_PROBES, Search, search
from feedline.prep import MeasurementError


@pytest.mark.parametrize("start", [1, 2, 3, 10])
@pytest.mark.parametrize("feeds", [0.1, 0.89, 0.95, 1.79, 1.85, 2.7, 5.3, 9.5])
def test_the_largest_kept_number_is_found(feeds: float, start: int) -> None:
    """A machine that feeds ``feeds`` accelerators keeps ``feeds / 0.9`` of them, wherever the search starts."""
    found = search(lambda number: min(1.0, feeds / number), Search(start=start, repeats=3))

    assert found.kept == math.floor(feeds / 0.9) and found.is_exact
    assert len(found.tried[max(1, found.kept)]) == 3 and found.kept + 1 in found.tried
    assert sum(map(len, found.tried.values())) <= MOST_PROBES + 6


def test_a_start_far_off_ends_with_a_lower_bound() -> None:
    """The runs are bounded, and the result says that it is not exact."""
    found = search(lambda number: min(1.0, 5000 / number), Search(start=1, repeats=1))

    assert 1 < found.kept < 5000 and not found.is_exact
    assert sum(map(len, found.tried.values())) <= MOST_PROBES + 1


def test_the_mean_of_all_runs_decides() -> None:
    """The first run of 2 accelerators was lucky; its repeats bring the mean below 90 %, and 1 is kept."""
    values = {1: itertools.repeat(1.0), 2: iter([0.91, 0.86, 0.86]), 3: itertools.repeat(0.6)}
    found = search(lambda number: next(values[number]), Search(start=2, repeats=3))

    assert (found.kept, found.is_exact, len(found.tried[1])) == (1, True, 3)


def test_noise_ends_within_the_bound() -> None:
    """At the border every run may go either way."""
    for seed in range(200):
        chance = random.Random(seed)
        found = search(lambda number, c=chance: c.uniform(0.85, 0.95), Search(start=3, repeats=5))
        assert sum(map(len, found.tried.values())) <= MOST_PROBES + 10


def test_no_more_than_the_data_allow_are_tried() -> None:
    """A machine that feeds any number keeps as many as there are data for."""
    found = search(lambda number: 1.0, Search(start=4, repeats=1, most=6))

    assert (found.kept, found.is_exact, max(found.tried)) == (6, True, 6)


def test_a_number_that_cannot_be_run_is_an_upper_bound() -> None:
    """Four are killed for want of memory; three are kept."""

    def run(number: int) -> float:
        if number > 3:
            raise MeasurementError("the measuring process was killed by SIGKILL")
        return 1.0

    found = search(run, Search(start=6, repeats=1))

    assert (found.kept, found.is_exact, max(found.tried)) == (3, True, 3)


def test_one_that_cannot_be_run_is_an_error() -> None:
    """There is nothing smaller to try."""

    def run(number: int) -> float:
        raise MeasurementError("the loader needs a shard")

    with pytest.raises(MeasurementError, match="needs a shard"):
        search(run, Search(start=3, repeats=1))


@pytest.mark.parametrize(("start", "fails_at", "kept"), [(2, 4, 2), (3, 2, 0)])
def test_a_run_that_fails_late_keeps_what_was_found(start: int, fails_at: int, kept: int) -> None:
    """The loader dies in a repeat of a number that is kept, and at the first run of 1 after 3 were too many."""
    runs = 0

    def run(number: int) -> float:
        nonlocal runs
        runs += 1
        if runs >= fails_at:
            raise MeasurementError("the loader died")
        return min(1.0, 2 / number) if start == 2 else 0.3

    found = search(run, Search(start=start, repeats=5))

    assert (found.kept, runs) == (kept, fails_at) and found.tried
