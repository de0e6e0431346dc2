"""The most emulated accelerators that this machine keeps at 90 % utilisation, with all that was measured for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from .accelerators import MINIMUM_AU, Accelerator, utilisation_of
from .rules import Rule
from .steps import Emulated


@dataclass(frozen=True, kw_only=True)
class EmulationRun:
    """One run of emulated accelerators side by side."""

    accelerators: int
    workers: int
    """Workers of the loader of each accelerator."""
    seed: int
    results: tuple[Emulated, ...]
    """Of each accelerator."""

    @property
    def au(self) -> float:
        """The mean utilisation of the accelerators, 0 to 1."""
        return mean(result.au for result in self.results)

    @property
    def images_per_second(self) -> float:
        """The sum over the accelerators, with the first steps of epochs."""
        return sum(result.images_per_second for result in self.results)


@dataclass(frozen=True, kw_only=True)
class EmulatedNumber:
    """All runs of one number of accelerators."""

    accelerators: int
    workers: int
    """Workers of the loader of each accelerator."""
    au: float
    """Mean utilisation over the runs, 0 to 1."""
    lowest: float
    highest: float
    images_per_second: float
    """Mean over the runs, of all accelerators together."""
    runs: int

    @property
    def kept(self) -> bool:
        """Whether the accelerators reach the least utilisation that counts."""
        return self.au >= MINIMUM_AU


@dataclass(frozen=True, kw_only=True)
class Utilisation:
    """The utilisation of emulated accelerators, by MLPerf Storage's definition, with JPEG decoding."""

    accelerator: Accelerator
    loader: str
    batch_size: int
    """Images of each accelerator."""
    image_size: int
    state: Literal["warm", "cold"]
    """The state of the data before each run."""
    asked: int | None
    """The number that was to be tested; None for the search of the largest that is kept."""
    kept: int | None
    """The most accelerators that are kept; 0 if not even one is. With ``asked``: this number, or None if it is not."""
    exact: bool
    """Whether one accelerator more was tested too, or cannot be tested: ``kept`` is the largest, not a lower bound."""
    tested: tuple[EmulatedNumber, ...]
    alone_images_per_second: float
    """The rate of the loader alone in this state."""
    rules: tuple[Rule, ...]
    """MLPerf Storage's rules, compared with the runs of ``headline``."""
    runs: tuple[EmulationRun, ...]
    problems: tuple[str, ...] = ()

    @property
    def headline(self) -> EmulatedNumber:
        """The number that the sentence is about: the largest that is kept, else the smallest that was tested."""
        number = self.kept or min(tested.accelerators for tested in self.tested)
        return next(tested for tested in self.tested if tested.accelerators == number)

    @property
    def fraction(self) -> float:
        """The rate of the loader alone, as a share of what one accelerator takes at 100 %."""
        return self.alone_images_per_second / self.accelerator.images_per_second

    @property
    def predicted(self) -> float:
        """The utilisation of the headline's accelerators that follows from the loader's rate alone, 0 to 1."""
        return utilisation_of(self.accelerator, self.alone_images_per_second, self.headline.accelerators)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The result, what it is a share of, and what it may be called."""
        one, found = self.accelerator, self.headline
        name = f"emulated {one.name}{'s' if found.accelerators != 1 else ''}"
        spread = f" ({found.lowest:.1%} to {found.highest:.1%} in {found.runs} runs)" if found.runs > 1 else ""
        reached = f"{found.accelerators} {name} at {found.au:.1%} utilisation{spread}"
        if found.kept:
            more = "" if self.exact or self.asked else "at least "
            first = (
                f"This machine keeps {more}{reached}, {found.images_per_second:,.0f} images/s; {MINIMUM_AU:.0%} counts."
            )
        elif self.asked or found.accelerators > 1:
            first = f"Not kept: {reached}, and {MINIMUM_AU:.0%} counts."
        else:
            first = f"This machine does not keep one {one.name}: {reached}, and {MINIMUM_AU:.0%} counts."
        takes = f"{one.images_per_second:,.0f} images/s; {one.source}"
        met = sum(rule.met for rule in self.rules)
        return (
            first,
            f"{self.loader} alone yields {self.alone_images_per_second:,.0f} images/s ({self.state} data), "
            f"{self.fraction:.2f} times what one {one.name} takes ({takes}).",
            f"This is AU by MLPerf Storage's definition, with JPEG decoding, and no result of MLPerf Storage: "
            f"{met} of its {len(self.rules)} rules are met.",
        )


def tabulate_runs(runs: Sequence[EmulationRun]) -> tuple[EmulatedNumber, ...]:
    """Return each number of accelerators with the mean and the range of its runs, smallest first."""
    found: dict[int, list[EmulationRun]] = {}
    for run in sorted(runs, key=lambda run: run.accelerators):
        found.setdefault(run.accelerators, []).append(run)
    return tuple(
        EmulatedNumber(
            accelerators=number,
            workers=group[0].workers,
            au=mean(run.au for run in group),
            lowest=min(run.au for run in group),
            highest=max(run.au for run in group),
            images_per_second=mean(run.images_per_second for run in group),
            runs=len(group),
        )
        for number, group in found.items()
    )
