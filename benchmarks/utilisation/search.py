"""The search for the most accelerators that are kept, in a bounded number of runs.

The search is a function of the utilisations that it gets, so tests drive it with a formula. A number of accelerators is
kept if the mean utilisation of its runs is MINIMUM_AU or more. A failed run says where to look: N accelerators at a
utilisation of a are fed like N * a accelerators at 100 %. The number that is found is run again until it has as many
runs as requested, and must be kept by the mean of all of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import mean

from ...prep import MeasurementError
from .accelerators import MINIMUM_AU

MOST_PROBES = 8
"""Most runs of the search, without the repeats of the number that it finds."""


@dataclass
class Search:
    """The numbers that were tried, with the utilisations of their runs."""

    start: int
    """The first number to try."""
    repeats: int
    """Runs of the number that is found."""
    most: int | None = None
    """The largest number that may be tried; None for any."""
    tried: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    impossible: int | None = None
    """The least number that could not be run, such as for want of memory."""

    @property
    def kept(self) -> int:
        """The largest kept number below all that were not; 0 if there is none."""
        return max((number for number in self.tried if number < self._least_failed), default=0)

    @property
    def is_exact(self) -> bool:
        """Whether the number above ``kept`` was tried and is not kept, or cannot be tried."""
        return self._least_failed == self.kept + 1

    def next(self) -> int | None:
        """Return the number to run next, None if the search is over."""
        kept, failed = self.kept, self._least_failed
        runs = sum(map(len, self.tried.values()))
        if failed > kept + 1 and runs < MOST_PROBES:
            return self._guess(kept, failed)
        if kept and len(self.tried[kept]) < self.repeats and runs < MOST_PROBES + 2 * self.repeats:
            return kept
        if not kept and failed == 1 and 1 in self.tried and len(self.tried[1]) < self.repeats:
            return 1
        return None

    def add(self, number: int, au: float) -> None:
        """Add the utilisation of a run."""
        self.tried.setdefault(number, []).append(au)

    @property
    def _least_failed(self) -> float:
        failed = [float(number) for number, values in self.tried.items() if mean(values) < MINIMUM_AU]
        limits = [] if self.most is None else [self.most + 1.0]
        limits += [] if self.impossible is None else [float(self.impossible)]
        return min([*failed, *limits], default=math.inf)

    def _guess(self, kept: int, failed: float) -> int:
        if failed == math.inf:
            steps = len(self.tried)
            return self.start if not kept else kept + 2 ** (steps - 1)
        if failed not in self.tried:  # nothing is known about it
            guess = self.start if not self.tried else (kept + int(failed)) // 2
        else:
            guess = int(failed * mean(self.tried[int(failed)]) / MINIMUM_AU)
        return max(kept + 1, min(guess, int(failed) - 1))


def search(run: Callable[[int], float], find: Search, tell: Callable[[int], object] = lambda runs: None) -> Search:
    """Run the numbers that ``find`` asks for, by ``run``, which returns a utilisation; return ``find``.

    ``tell`` is called with the number of finished runs. A number whose run raises MeasurementError counts as
    impossible. If it has been run before, the search ends with what was found. Raises the error of the very first run
    if that is of one accelerator.
    """
    runs = 0
    while (number := find.next()) is not None:
        try:
            find.add(number, run(number))
        except MeasurementError:
            if number == 1 and not find.tried:
                raise
            if number in find.tried:
                return find
            find.impossible = number
        runs += 1
        tell(runs)
    return find
