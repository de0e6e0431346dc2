"""The verdict on what limits the training: pure functions of measured rates.

The differential runs are those of DS-Analyzer (Mohan et al., Analyzing and Mitigating Data Stalls in DNN Training,
VLDB 2021) with one more: the model on synthetic data, the loader alone on warm data, the loader alone on cold data,
and both together. Each stage has a time per image, and the longest one is the bottleneck:

    model    1 / rate on synthetic data
    loader   1 / rate alone, in the state of the page cache that a real epoch finds
      decode   the warm time, without the share of reading from memory
      fetch    that share, and the time that a cold cache adds

A loader and a model within 10 % of each other are balanced. NVIDIA's DALI uses the same limit: its loader evaluator
reports a potential bottleneck above 1.1 and a detected one above 1.5. The verdict is inconclusive if the runs of one
rate spread so far that its lowest and its highest give different verdicts. It is also inconclusive if loader and model
together were so much faster than one of them alone that the verdict would change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import median
from typing import Literal

from ...prep import MeasurementError

VerdictName = Literal["fetch-bound", "decode-bound", "compute-bound", "balanced", "inconclusive"]
State = Literal["warm", "cold"]

BALANCED = 1.1
"""Largest ratio of two times per image that are called equal."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Images/s over several runs of one configuration. Raises MeasurementError for values that are not rates."""

    images_per_second: float
    """The median."""
    lowest: float
    highest: float

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.images_per_second <= self.highest < math.inf:
            values = f"{self.lowest}, {self.images_per_second} and {self.highest} images/s"
            raise MeasurementError(f"{values} are not the lowest, median and highest of any rates; measure again")

    @property
    def spread(self) -> float:
        """(highest - lowest) / median, as a fraction."""
        return (self.highest - self.lowest) / self.images_per_second

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest rate."""
        return self.lowest, self.highest


def rate_of(values: Sequence[float]) -> Rate:
    """Return the median and the range of the rates of several runs."""
    return Rate(images_per_second=median(values), lowest=min(values), highest=max(values))


@dataclass(frozen=True, kw_only=True)
class DifferentialRates:
    """The rates of the differential runs of one loader and one model."""

    model: Rate
    """The model alone, on a few batches that are replayed from memory."""
    warm: Rate
    """The loader alone, from the page cache."""
    cold: Rate | None
    """The loader alone, from the disk; None if the data cannot be made cold."""
    together: Rate
    """The loader and the model together."""
    fetch_share: float
    """Share, 0 to 1, of one image's time in the loader that reading takes even if the data are warm."""
    state: State
    """The state of the data in a real epoch."""

    def __post_init__(self) -> None:
        if not 0 <= self.fetch_share <= 1:
            raise MeasurementError(f"a share is 0 to 1, got {self.fetch_share}; measure again")

    @property
    def loader(self) -> Rate:
        """The loader alone, in the state of a real epoch; warm if the data cannot be made cold."""
        return self.cold if self.state == "cold" and self.cold is not None else self.warm


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What limits the training, and the numbers that show it."""

    name: VerdictName
    sentence: str
    milliseconds: dict[str, float]
    """Time per image of fetch, decode and model, at the measured worker count."""
    stall: float
    """Share of the training's time, 0 to 1, that is lost to loading: 1 - together / model."""


def decide_verdict(measured: DifferentialRates) -> Verdict:
    """Return the verdict on ``measured``. The function is pure: equal rates give equal verdicts."""
    times = _milliseconds(measured)
    name = _verdict_name(measured)
    doubt = _reason_for_doubt(measured)
    if doubt is not None:
        name, sentence = "inconclusive", doubt
    else:
        sentence = _sentence(name, measured, times)
    stall = max(0.0, 1 - measured.together.images_per_second / measured.model.images_per_second)
    return Verdict(name=name, sentence=sentence, milliseconds=times, stall=stall)


def state_that_counts(data_bytes: int, free_bytes: int) -> State:
    """Return the state of the data in a real epoch: cold if they are larger than free memory, else warm.

    An epoch in random order does not profit from a cache that is too small: images that were dropped are read again
    later, and reading them drops the others.
    """
    return "cold" if data_bytes > free_bytes else "warm"


def _milliseconds(measured: DifferentialRates) -> dict[str, float]:
    """Return the milliseconds per image of each stage. A cold cache adds to fetching; decoding stays the same."""
    warm, loader = 1000 / measured.warm.images_per_second, 1000 / measured.loader.images_per_second
    decode = min(warm, loader) * (1 - measured.fetch_share)
    return {
        "fetch": loader - decode,
        "decode": decode,
        "model": 1000 / measured.model.images_per_second,
    }


def _verdict_name(measured: DifferentialRates) -> VerdictName:
    times = _milliseconds(measured)
    ratio = (times["fetch"] + times["decode"]) / times["model"]
    if ratio > BALANCED:
        return "fetch-bound" if times["fetch"] > times["decode"] else "decode-bound"
    return "balanced" if ratio > 1 / BALANCED else "compute-bound"


def _reason_for_doubt(measured: DifferentialRates) -> str | None:
    """Return the sentence of an inconclusive verdict, None if the verdict is conclusive."""
    # Neither is slower alone than with the other, so the rate together is a lower bound of both.
    proven = measured.together.lowest
    least = [max(proven, rate.images_per_second) for rate in (measured.model, measured.warm, measured.loader)]
    if _verdict_name(_with_rates(measured, *least)) != _verdict_name(measured):
        return (
            f"Inconclusive: loader and model reached {proven:,.0f} images/s together, more than one of them alone, "
            f"and that would change the verdict. Other work disturbed the runs; diagnose again."
        )
    worst = max(measured.model.spread, measured.warm.spread, measured.loader.spread)
    if worst <= BALANCED - 1:  # with so little spread, two verdicts at their border are equally true
        return None
    ends = product(measured.model.ends, measured.warm.ends, measured.loader.ends)
    names = {_verdict_name(_with_rates(measured, *rates)) for rates in ends}
    if len(names) == 1:
        return None
    return (
        f"Inconclusive: the runs spread by up to {worst:.0%}, and their lowest and highest rates give different "
        f"verdicts, {' or '.join(sorted(names))}; close other programs or measure longer: --seconds 5 --repeats 5."
    )


def _with_rates(measured: DifferentialRates, model: float, warm: float, loader: float) -> DifferentialRates:
    """Return ``measured`` with these rates, each without spread."""
    exact = {"model": rate_of([model]), "warm": rate_of([warm])}
    if measured.loader is not measured.warm:
        return replace(measured, **exact, cold=rate_of([loader]))
    return replace(measured, **exact)


def _sentence(name: VerdictName, measured: DifferentialRates, times: dict[str, float]) -> str:
    supply, demand = measured.loader.images_per_second, measured.model.images_per_second
    numbers = f"the loader yields {supply:,.0f} images/s ({measured.state} data), and the model can take {demand:,.0f}"
    if name == "compute-bound":
        return f"compute-bound: the model is slower than the loader; {numbers}."
    if name == "balanced":
        return f"balanced: loader and model take the same time; {numbers}."
    part = "fetching the images" if name == "fetch-bound" else "decoding and transforming the images"
    share = times["fetch" if name == "fetch-bound" else "decode"] / (times["fetch"] + times["decode"])
    return f"{name}: the loader is slower than the model, and {part} takes {share:.0%} of its time; {numbers}."
