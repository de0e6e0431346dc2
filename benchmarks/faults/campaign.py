"""The campaign: undisturbed runs first, then faults in turn, and the record after each of them."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from ...loaders.pixels import ready
from ...prep import MeasurementError, Progress, silent, write_document
from .commands import Undisturbed, Workshop, disturb_command, undisturbed
from .disks import private_shared_memory
from .disturbed_epochs import disturb_epochs, installed_loaders, undisturbed_epochs
from .judging import Epochs
from .kinds import OF_COMMANDS, OF_EPOCHS, Kind, possible
from .record import FaultsRecord, Outcome, begun, with_outcome
from .targets import make_data, targets

EPOCHS = "epochs of "
MOST_MISSES = 4
"""Times that a fault is tried with another moment, before another fault takes its turn."""
MOST_TURNS = 2
"""Turns without success from which a fault counts as one that cannot be met here."""

Pair = tuple[str, Kind]
"""A target and the kind of fault that is injected into it."""


@dataclass(frozen=True, kw_only=True)
class FaultPlan:
    """What a campaign injects. Raises MeasurementError for values that inject nothing."""

    faults: int = 200
    seed: int = 0
    pairs: tuple[Pair, ...] = ()
    """The targets and kinds to inject, in turn. If empty, all that this machine can inject, in a random order."""
    minutes: float | None = None
    """Time after which no further fault is injected; None for no end but the number."""
    limit_seconds: float = 180.0
    """Seconds from which a command counts as hanging, and is ended."""

    def __post_init__(self) -> None:
        if self.faults < 1 or (self.minutes is not None and self.minutes <= 0):
            raise MeasurementError(
                f"{self.faults} faults in {self.minutes} minutes are none; give at least one of each"
            )


def inject(plan: FaultPlan, out: Path, command: Sequence[str], progress: Progress = silent) -> FaultsRecord:
    """Inject the faults of the plan, and write the record to ``out`` after each; return it.

    A record in ``out`` with the same seed is continued. Raises MeasurementError if it was made with other settings, or
    if a command fails without a fault.
    """
    record = begun(out, plan.seed, plan.faults, plan.limit_seconds, command)
    chosen = drawn(plan)
    if following(chosen, record.outcomes) is None:
        return record
    private_shared_memory()
    ready.prepare()  # no disturbed command compiles the decoder in a process that outlives it
    record = replace(record, not_injected=_impossible())
    with tempfile.TemporaryDirectory(prefix="feedline-faults-") as place:
        shop = Workshop(Path(place).resolve(), plan.limit_seconds)
        make_data(shop.data)
        session = _Session(shop, {}, {})
        deadline = None if plan.minutes is None else time.monotonic() + 60 * plan.minutes
        while pair := following(chosen, record.outcomes):
            if deadline is not None and time.monotonic() > deadline:
                break
            progress("faults", record.injected, plan.faults)
            outcome = session.disturb(*pair, random.Random(f"{plan.seed} {len(record.outcomes)}"))
            record = with_outcome(record, outcome)
            write_document(out, record)
        progress("faults", record.injected, max(record.injected, plan.faults))
        return record


@dataclass(frozen=True)
class _Session:
    """The workshop and the undisturbed runs, each made when it is first needed."""

    shop: Workshop
    commands: dict[str, Undisturbed]
    epochs: dict[str, Epochs]

    def disturb(self, target: str, kind: Kind, rng: random.Random) -> Outcome:
        if target.startswith(EPOCHS):
            name = target.removeprefix(EPOCHS)
            if name not in self.epochs:
                self.epochs[name] = undisturbed_epochs(self.shop, name)
            return disturb_epochs(self.shop, name, kind, rng, self.epochs[name])
        found = targets()[target]
        if target not in self.commands:
            self.commands[target] = undisturbed(self.shop, found)
        return disturb_command(self.shop, found, kind, rng, self.commands[target])


def _pairs() -> list[Pair]:
    """Return every target with each kind of fault that can be injected into it."""
    groups = [(targets(), OF_COMMANDS), ([f"{EPOCHS}{name}" for name in installed_loaders()], OF_EPOCHS)]
    return [(name, kind) for names, kinds in groups for name in names for kind in kinds if possible(kind, name)]


def drawn(plan: FaultPlan) -> list[Pair]:
    """Return the faults of the plan: every pair once, in a random order, then every pair again."""
    pairs, drawn, rng = list(plan.pairs) or _pairs(), list[Pair](), random.Random(plan.seed)
    while len(drawn) < plan.faults:
        if not plan.pairs:
            rng.shuffle(pairs)
        drawn += pairs
    return drawn[: plan.faults]


def following(drawn: Sequence[Pair], outcomes: Sequence[Outcome]) -> Pair | None:
    """Return the fault that follows these outcomes: one that was not met is drawn again, with another moment.

    Others take the turns of one that could not be met. None if all were injected, or if none of them can be met.
    """
    left, met, misses, given_up = list(drawn), 0, 0, Counter[Pair]()
    for one in outcomes:
        if met == len(left):
            return None
        pair = left[met]
        if one.met:
            met, misses, given_up[pair] = met + 1, 0, 0
        elif misses + 1 < MOST_MISSES:
            misses += 1
        else:  # its turn comes again at the end
            misses, given_up[pair] = 0, given_up[pair] + 1
            waiting = [*left[met + 1 :], pair]
            left[met:] = _without({pair for pair, turns in given_up.items() if turns >= MOST_TURNS}, waiting, drawn)
    return left[met] if met < len(left) else None


def _without(hopeless: set[Pair], waiting: Sequence[Pair], drawn: Sequence[Pair]) -> list[Pair]:
    """Return the waiting faults with others in place of the hopeless ones; nothing if all are hopeless."""
    others = cycle([pair for pair in dict.fromkeys(drawn) if pair not in hopeless])
    found = (next(others, None) if pair in hopeless else pair for pair in waiting)
    return [pair for pair in found if pair is not None]


def _impossible() -> tuple[str, ...]:
    return tuple(kind for kind in OF_COMMANDS if not any(possible(kind, name) for name in targets()))
