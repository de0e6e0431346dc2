"""Which loader with how many workers, what that gains, and where the verdict would turn: pure functions of rates."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...prep import MeasurementError
from .verdict import BALANCED, DifferentialRates, Rate


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One measured setting: a loader alone on warm data."""

    loader: str
    workers: int
    rate: Rate
    cpu_seconds_per_image: float | None
    """Over all processes; None where it cannot be known."""


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """Where the verdict would be another one, all else being equal."""

    model_images_per_second: float
    """A model that takes more than this waits for the loader; one that takes less makes it wait."""
    cpus: float | None
    """Usable CPUs at which decoding keeps up with the model, if it scales with them; None where the CPU time is
    unknown, or where the model computes on the same CPUs and would gain from more of them too."""
    disk_bytes_per_second: float
    """Bandwidth below which reading is slower than both decoding and the model."""


def recommend(curve: Sequence[CurvePoint]) -> CurvePoint:
    """Return the knee of the fastest loader: the fewest workers that are within the spread of its best.

    More workers than that cost memory and CPU time and gain nothing that was measured. No workers at all are left
    out where there is a choice: nothing is loaded then while the model computes.
    """
    if not curve:
        raise MeasurementError("there is no measured loader to recommend; see: feedline loaders")
    best = max(_with_workers(curve), key=lambda point: point.rate.images_per_second)
    rivals = [point for point in _with_workers(curve) if point.loader == best.loader]
    good = [point for point in rivals if point.rate.images_per_second >= best.rate.lowest]
    return min(good, key=lambda point: point.workers)


def enough_workers(curve: Sequence[CurvePoint], loader: str, demand: float) -> int | None:
    """Return the fewest workers of ``loader`` that feed ``demand`` images/s with 10 % to spare; None: none do."""
    points = [point for point in _with_workers(curve) if point.loader == loader]
    enough = [point.workers for point in points if point.rate.images_per_second >= BALANCED * demand]
    return min(enough, default=None)


def baseline(curve: Sequence[CurvePoint], cpus: int) -> CurvePoint:
    """Return what most people run: the first measured loader of the table, one worker per usable CPU."""
    points = [point for point in curve if point.loader == curve[0].loader]
    return min(points, key=lambda point: (abs(point.workers - cpus), point.workers))


def training_rate(load: float, model: float, *, shares_cpus: bool, workers: int) -> float:
    """Return the images/s of a training whose loader and model alone reach ``load`` and ``model``.

    Side by side the slower of the two decides. One after the other their times add up: without workers, and where
    both want the same CPUs.
    """
    return 1 / (1 / load + 1 / model) if shares_cpus or workers == 0 else min(load, model)


def break_even(
    measured: DifferentialRates, point: CurvePoint, bytes_per_image: float, *, shares_cpus: bool
) -> BreakEven:
    """Return where the verdict on ``measured``, measured at ``point``, turns."""
    demand, warm = measured.model.images_per_second, measured.warm.images_per_second
    cpu = point.cpu_seconds_per_image
    return BreakEven(
        model_images_per_second=measured.loader.images_per_second,
        cpus=None if cpu is None or shares_cpus else demand * cpu,
        disk_bytes_per_second=min(demand, warm) * bytes_per_image,
    )


def _with_workers(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    able = {point.loader for point in curve if point.workers}
    return [point for point in curve if point.workers or point.loader not in able]
