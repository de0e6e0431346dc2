"""When the steps of all accelerators begin to count, and when they stop."""

import time
from typing import Literal

from ..measuring.measure import Clock

Word = Literal["go", "count", "stop"]
"""The answer to a wait: go on, count from now on, or stop after the step that has just ended."""

WARMUP = 1 / 3
"""The share of the measuring time that the steps before it take: they fill the queues of the workers."""
LEAST_STEPS = 10
"""Least steps of a measurement: fewer show the queues more than the loader."""


class Pace:
    """Counts the steps of all accelerators and times them.

    The warm-up takes a third of ``seconds`` and at least two steps. The measurement takes ``seconds`` and at least
    LEAST_STEPS steps.
    """

    def __init__(self, seconds: float, clock: Clock = time.perf_counter) -> None:
        self._seconds, self._clock = seconds, clock
        self._began: float | None = None
        self._steps, self._counting = 0, False

    def word(self) -> Word:
        """Return the word that follows a step of all accelerators."""
        now = self._clock()
        began = self._began = now if self._began is None else self._began
        self._steps += 1
        if self._counting:
            return "stop" if self._steps >= LEAST_STEPS and now - began >= self._seconds else "go"
        if self._steps >= 2 and now - began >= WARMUP * self._seconds:
            self._counting, self._began, self._steps = True, now, 0
            return "count"
        return "go"
