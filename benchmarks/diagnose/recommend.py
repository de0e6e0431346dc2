"""The recommendation from measured rates: loader and workers, the gain, and the break-even of the verdict.

All functions are pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ...prep import MeasurementError
from .verdict import BALANCED, DifferentialRates, Rate


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The rate of a loader alone on warm data, with one number of workers."""

    loader: str
    workers: int
    rate: Rate
    cpu_seconds_per_image: float | None
    """CPU seconds per image over all processes; None if they cannot be determined."""


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """The values at which the verdict changes, if everything else stays equal."""

    model_images_per_second: float
    """A model that takes more than this waits for the loader; the loader waits for a model that takes less."""
    cpus: float | None
    """Usable CPUs at which decoding is as fast as the model, if decoding scales with them. None if the CPU time is
    unknown, or if the model computes on the same CPUs and would become faster too."""
    disk_bytes_per_second: float
    """Bandwidth below which reading is slower than both decoding and the model."""


def recommend(curve: Sequence[CurvePoint]) -> CurvePoint:
    """Return the knee of the fastest loader: the fewest workers whose rate is within the spread of its best.

    More workers cost memory and CPU time without a measured gain. A setting without workers is only recommended if
    there is no other, because then no image is loaded while the model computes. Raises MeasurementError for an empty
    curve.
    """
    if not curve:
        raise MeasurementError("there is no measured loader to recommend; list the loaders with: feedline loaders")
    best = max(_with_workers(curve), key=lambda point: point.rate.images_per_second)
    rivals = [point for point in _with_workers(curve) if point.loader == best.loader]
    good = [point for point in rivals if point.rate.images_per_second >= best.rate.lowest]
    return min(good, key=lambda point: point.workers)


def enough_workers(curve: Sequence[CurvePoint], loader: str, demand: float) -> int | None:
    """Return the fewest workers of ``loader`` that load ``demand`` images/s with 10 % to spare, None if none do."""
    points = [point for point in _with_workers(curve) if point.loader == loader]
    enough = [point.workers for point in points if point.rate.images_per_second >= BALANCED * demand]
    return min(enough, default=None)


def baseline(curve: Sequence[CurvePoint], cpus: int) -> CurvePoint:
    """Return the usual setting: the first measured loader of the table, with one worker per usable CPU."""
    points = [point for point in curve if point.loader == curve[0].loader]
    return min(points, key=lambda point: (abs(point.workers - cpus), point.workers))


def training_rate(load: float, model: float, *, shares_cpus: bool, workers: int) -> float:
    """Return the images/s of a training whose loader and model alone reach ``load`` and ``model`` images/s.

    If loader and model run at the same time, the slower one limits the training. If they run one after the other,
    their times add up. That is the case without workers, and if both use the same CPUs.
    """
    return 1 / (1 / load + 1 / model) if shares_cpus or workers == 0 else min(load, model)


def break_even(
    measured: DifferentialRates, point: CurvePoint, bytes_per_image: float, *, shares_cpus: bool
) -> BreakEven:
    """Return the values at which the verdict on ``measured``, measured at ``point``, changes."""
    demand, warm = measured.model.images_per_second, measured.warm.images_per_second
    cpu = point.cpu_seconds_per_image
    return BreakEven(
        model_images_per_second=measured.loader.images_per_second,
        cpus=None if cpu is None or shares_cpus else demand * cpu,
        disk_bytes_per_second=min(demand, warm) * bytes_per_image,
    )


def _with_workers(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return the points with workers, and all points of a loader that was only measured without."""
    able = {point.loader for point in curve if point.workers}
    return [point for point in curve if point.workers or point.loader not in able]
