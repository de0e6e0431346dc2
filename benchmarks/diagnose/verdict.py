"""What holds the training back: numbers in, verdict out, nothing measured here.

The differential runs are DS-Analyzer's (Mohan et al., Analyzing and Mitigating Data Stalls in DNN Training, VLDB
2021) with one more: the model on synthetic data, the loader alone on warm data, the loader alone on cold data, and
both together. Each stage has a time per image, and the longest one is the bottleneck:

    model    1 / rate on synthetic data
    loader   1 / rate alone, in the state of the page cache that a real epoch finds
      decode   the warm time, without the share that even reading from memory takes
      fetch    that share, and what a cold cache adds

A loader and a model within 10 % of each other are balanced: that much is where NVIDIA's DALI begins to suspect the
loader (its loader evaluator: above 1.1 a potential, above 1.5 a detected bottleneck). When the runs of one rate
spread so far that its lowest and its highest give different verdicts, or when both together are so much faster than
one of them alone that it matters, nothing is decided: the verdict is inconclusive.
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
"""Two times per image whose ratio is no larger are called equal."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Images/s over several runs of one thing. Raises MeasurementError for what is no rate."""

    images_per_second: float
    """The median."""
    lowest: float
    highest: float

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.images_per_second <= self.highest < math.inf:
            raise MeasurementError(f"{self.lowest}, {self.images_per_second}, {self.highest} are no rates")

    @property
    def spread(self) -> float:
        """(highest - lowest) / median, as a fraction."""
        return (self.highest - self.lowest) / self.images_per_second

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest."""
        return self.lowest, self.highest


def rate_of(values: Sequence[float]) -> Rate:
    """Return the rate that several runs have."""
    return Rate(images_per_second=median(values), lowest=min(values), highest=max(values))


@dataclass(frozen=True, kw_only=True)
class DifferentialRates:
    """The differential runs of one loader and one model."""

    model: Rate
    """The model alone, on a few batches that are replayed from memory."""
    warm: Rate
    """The loader alone, from the page cache."""
    cold: Rate | None
    """The loader alone, from the disk; None where a cold cache cannot be made."""
    together: Rate
    """The loader feeding the model."""
    fetch_share: float
    """Share, 0 to 1, of one image's time in the loader that reading takes even when the data are warm."""
    state: State
    """What a real epoch finds."""

    def __post_init__(self) -> None:
        if not 0 <= self.fetch_share <= 1:
            raise MeasurementError(f"a share is 0 to 1, got {self.fetch_share}")

    @property
    def loader(self) -> Rate:
        """The loader alone in the state that counts; warm where a cold cache cannot be made."""
        return self.cold if self.state == "cold" and self.cold is not None else self.warm


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What holds the training back, and the numbers that say so."""

    name: VerdictName
    sentence: str
    milliseconds: dict[str, float]
    """Time per image of fetch, decode and model, at the measured worker count."""
    stall: float
    """Share of the training's time, 0 to 1, that is lost to loading: 1 - together / model."""


def decide_verdict(measured: DifferentialRates) -> Verdict:
    """Return the verdict on ``measured``. Pure: the same numbers, the same verdict."""
    times = _milliseconds(measured)
    name = _decided(measured)
    doubt = _doubt(measured)
    if doubt is not None:
        name, sentence = "inconclusive", doubt
    else:
        sentence = _sentence(name, measured, times)
    stall = max(0.0, 1 - measured.together.images_per_second / measured.model.images_per_second)
    return Verdict(name=name, sentence=sentence, milliseconds=times, stall=stall)


def state_that_counts(data_bytes: int, free_bytes: int) -> State:
    """Return what the page cache has for a real epoch: data larger than free memory are read from the disk again.

    An epoch in random order gives the cache no second chance: what it drops is read later, and what is read later
    pushes out the rest.
    """
    return "cold" if data_bytes > free_bytes else "warm"


def _milliseconds(measured: DifferentialRates) -> dict[str, float]:
    """Return the time per image of each stage. What a cold cache adds is fetching; the decoding stays."""
    warm, loader = 1000 / measured.warm.images_per_second, 1000 / measured.loader.images_per_second
    decode = min(warm, loader) * (1 - measured.fetch_share)
    return {
        "fetch": loader - decode,
        "decode": decode,
        "model": 1000 / measured.model.images_per_second,
    }


def _decided(measured: DifferentialRates) -> VerdictName:
    times = _milliseconds(measured)
    ratio = (times["fetch"] + times["decode"]) / times["model"]
    if ratio > BALANCED:
        return "fetch-bound" if times["fetch"] > times["decode"] else "decode-bound"
    return "balanced" if ratio > 1 / BALANCED else "compute-bound"


def _doubt(measured: DifferentialRates) -> str | None:
    """Return why nothing is decided, or None."""
    # Neither can be slower alone than with the other one: what they reached together bounds both from below.
    proven = measured.together.lowest
    least = [max(proven, rate.images_per_second) for rate in (measured.model, measured.warm, measured.loader)]
    if _decided(_at(measured, *least)) != _decided(measured):
        return (
            f"Inconclusive: loader and model reached {proven:,.0f} images/s together, more than one of them alone, "
            f"and that would change the verdict; something disturbed the runs, diagnose again."
        )
    worst = max(measured.model.spread, measured.warm.spread, measured.loader.spread)
    if worst <= BALANCED - 1:  # so close to a border between two verdicts, both are as true
        return None
    ends = product(measured.model.ends, measured.warm.ends, measured.loader.ends)
    names = {_decided(_at(measured, *rates)) for rates in ends}
    if len(names) == 1:
        return None
    return (
        f"Inconclusive: the runs spread by up to {worst:.0%}, and their ends say {' or '.join(sorted(names))}; "
        f"close other programs or measure longer: --seconds 5 --repeats 5."
    )


def _at(measured: DifferentialRates, model: float, warm: float, loader: float) -> DifferentialRates:
    """Return the rates as if each had been measured without any spread."""
    exact = {"model": rate_of([model]), "warm": rate_of([warm])}
    if measured.loader is not measured.warm:
        return replace(measured, **exact, cold=rate_of([loader]))
    return replace(measured, **exact)


def _sentence(name: VerdictName, measured: DifferentialRates, times: dict[str, float]) -> str:
    supply, demand = measured.loader.images_per_second, measured.model.images_per_second
    numbers = f"it loads {supply:,.0f} images/s ({measured.state} data) and the model could take {demand:,.0f}"
    if name == "compute-bound":
        return f"compute-bound: the model is slower than the loader; {numbers}."
    if name == "balanced":
        return f"balanced: loader and model take equally long; {numbers}."
    part = "fetching the images" if name == "fetch-bound" else "decoding and transforming them"
    share = times["fetch" if name == "fetch-bound" else "decode"] / (times["fetch"] + times["decode"])
    return f"{name}: the loader is slower than the model, and {part} is {share:.0%} of its time; {numbers}."
