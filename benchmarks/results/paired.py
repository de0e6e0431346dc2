"""Differences of two ways to train, paired by seed: their interval, what it decides, and how many seeds decide it.

Two trainings from one seed share weights, order and crops, so their difference varies less than two unpaired means do.
The interval is Student's t over the differences. It decides in two directions: the ways agree if the whole interval
is within the margin, and differ if it does not hold 0. Every other interval leaves it undecided, however close the
means are: a few seeds cannot show that two ways are equal.

    P(agree, if they are the margin or more apart) <= (1 - confidence) / 2
    P(differ, if they are equal)                   <= 1 - confidence

``seeds_for`` is the least number of seeds with which both right answers come with the probability ``POWER``, if the
differences have the given standard deviation: one measured before. The number follows from the deviation and never from
the mean, so that a run that goes on to it is no search for a verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean, stdev
from typing import Literal

import numpy as np

MARGIN = 0.5
"""Points of top-1 that count as a difference."""
POWER = 0.8
MOST_SEEDS = 10_000

Verdict = Literal["agree", "differ", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The differences of two ways over the same seeds, in points."""

    seeds: int
    mean: float
    deviation: float
    """The standard deviation of the differences."""
    low: float
    high: float
    confidence: float

    @property
    def verdict(self) -> Verdict:
        """What the interval decides; ways that are apart by less than the margin for certain agree."""
        if self.low > -MARGIN and self.high < MARGIN:
            return "agree"
        return "differ" if self.low > 0 or self.high < 0 else "undecided"


def difference(values: Sequence[float], base: Sequence[float], confidence: float = 0.95) -> Difference:
    """Return how much ``values`` exceed ``base``, by seed, with the interval that holds the true mean."""
    apart = [value - other for value, other in zip(values, base, strict=True)]
    if len(apart) < 2:
        raise ValueError(f"an interval needs at least 2 seeds, got {len(apart)}")
    middle, deviation = mean(apart), stdev(apart)
    half = t_quantile((1 + confidence) / 2, len(apart) - 1) * deviation / math.sqrt(len(apart))
    return Difference(
        seeds=len(apart),
        mean=middle,
        deviation=deviation,
        low=middle - half,
        high=middle + half,
        confidence=confidence,
    )


def seeds_for(deviation: float, confidence: float = 0.95) -> int:
    """Return the number of seeds that decides about the margin, given the deviation of the differences in points.

    To agree, both ends of the interval must be inside the margin, so each may fail in half of the cases left.
    """
    for seeds in range(3, MOST_SEEDS):
        reach = t_quantile((1 + confidence) / 2, seeds - 1) + t_quantile((1 + POWER) / 2, seeds - 1)
        if reach * deviation / math.sqrt(seeds) < MARGIN:
            return seeds
    return MOST_SEEDS


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t for ``probability`` above 0.5, by integration and bisection."""
    low, high = 0.0, 1e6
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _below(t: float, freedom: int) -> float:
    """Return the probability of a value below ``t`` > 0.

    With tan(a) = t / sqrt(freedom), the density becomes cos(a) ** (freedom - 1), which is smooth up to the last angle.
    """
    end = math.atan(t / math.sqrt(freedom))
    angles, step = np.linspace(0, end, 2001, retstep=True)
    heights = np.cos(angles) ** (freedom - 1)
    simpson = step / 3 * (heights[0] + 4 * heights[1::2].sum() + 2 * heights[2:-1:2].sum() + heights[-1])
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return 0.5 + scale * float(simpson)
