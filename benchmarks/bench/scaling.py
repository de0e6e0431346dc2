"""The rows of ``feedline bench --train`` compared with each other: share of the ceiling, and scaling over ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..results.ranking import CEILING
from .training_speed import Speed

COLUMNS = ("device", "loader", "workers", "images/s", "of the ceiling", "scaling", "waiting for data")


@dataclass(frozen=True, kw_only=True)
class ComparedSpeed:
    """A row, compared with the ceiling and with one rank."""

    speed: Speed
    of_ceiling: float | None
    """Share of the rate of ``cached`` on the same devices; None if that was not measured."""
    scaling: float | None
    """Images/s per rank divided by those of one rank alone; None for one rank, or if one rank was not measured."""


def compare_speeds(speeds: Sequence[Speed]) -> list[ComparedSpeed]:
    """Return each row with its share of the ceiling and its scaling."""
    rates = {(speed.device, speed.ranks, speed.loader): speed.images_per_second for speed in speeds}
    found: list[ComparedSpeed] = []
    for speed in speeds:
        ceiling = rates.get((speed.device, speed.ranks, CEILING))
        one = rates.get((speed.device, 1, speed.loader)) if speed.ranks > 1 else None
        of_ceiling = speed.images_per_second / ceiling if ceiling else None
        scaling = speed.images_per_second / one / speed.ranks if one else None
        found.append(ComparedSpeed(speed=speed, of_ceiling=of_ceiling, scaling=scaling))
    return found


def cells(row: ComparedSpeed) -> tuple[str, ...]:
    """Return the cells of a row, in the order of COLUMNS."""
    speed = row.speed
    return (
        f"{speed.ranks} x {speed.device}",
        speed.loader,
        str(speed.workers),
        f"{speed.images_per_second:,.0f}",
        "-" if row.of_ceiling is None else f"{row.of_ceiling:.0%}",
        "-" if row.scaling is None else f"{row.scaling:.0%}",
        f"{speed.data_wait:.1%}",
    )


def tabulate_speeds(speeds: Sequence[Speed]) -> str:
    """Return the rows as a Markdown table."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|---:|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(cells(row))} |" for row in compare_speeds(speeds)]
    return "\n".join(lines)
