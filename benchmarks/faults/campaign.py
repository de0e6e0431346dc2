"""The campaign: undisturbed runs first, then faults in turn, and the record after each of them."""

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ...loaders.pixels import ready
from ...prep import MeasurementError, Progress, silent, write_document
from ..machine.environment import capture
from ..measuring.record import running_code
from .commands import Undisturbed, Workshop, disturb_command, undisturbed
from .disks import private_shared_memory
from .disturbed_epochs import Epochs, disturb_epochs, installed_loaders, undisturbed_epochs
from .kinds import OF_COMMANDS, OF_EPOCHS, Kind, possible
from .record import FaultsRecord, Outcome
from .targets import make_data, targets

EPOCHS = "epochs of "


@dataclass(frozen=True, kw_only=True)
class FaultPlan:
    """What a campaign injects. Raises MeasurementError for values that inject nothing."""

    faults: int = 200
    seed: int = 0
    pairs: tuple[tuple[str, Kind], ...] = ()
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

    Raises MeasurementError if a command fails without a fault.
    """
    private_shared_memory()
    ready.prepare()  # no disturbed command compiles the decoder in a process that outlives it
    with tempfile.TemporaryDirectory(prefix="feedline-faults-") as place:
        shop = Workshop(Path(place).resolve(), plan.limit_seconds)
        make_data(shop.data)
        chosen = list(_drawn(plan))
        session = _Session(shop, {}, {})
        record = _empty_record(plan, command)
        deadline = None if plan.minutes is None else time.monotonic() + 60 * plan.minutes
        for number, (target, kind) in enumerate(chosen):
            if deadline is not None and time.monotonic() > deadline:
                break
            progress("faults", number, plan.faults)
            outcome = session.disturb(target, kind, random.Random(f"{plan.seed} {number}"))
            record = replace(record, outcomes=(*record.outcomes, outcome))
            write_document(out, record)
        progress("faults", len(record.outcomes), len(record.outcomes))
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


def _pairs() -> list[tuple[str, Kind]]:
    """Return every target with each kind of fault that can be injected into it."""
    groups = [(targets(), OF_COMMANDS), ([f"{EPOCHS}{name}" for name in installed_loaders()], OF_EPOCHS)]
    return [(name, kind) for names, kinds in groups for name in names for kind in kinds if possible(kind, name)]


def _drawn(plan: FaultPlan) -> Iterator[tuple[str, Kind]]:
    """Yield the faults of the plan: every pair once, in a random order, then every pair again."""
    pairs, left, rng = list(plan.pairs) or _pairs(), plan.faults, random.Random(plan.seed)
    while left > 0:
        if not plan.pairs:
            rng.shuffle(pairs)
        yield from pairs[:left]
        left -= len(pairs)


def _empty_record(plan: FaultPlan, command: Sequence[str]) -> FaultsRecord:
    return FaultsRecord(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=tuple(command),
        code=running_code(),
        environment=capture(),
        seed=plan.seed,
        limit_seconds=plan.limit_seconds,
        not_injected=tuple(kind for kind in OF_COMMANDS if not any(possible(kind, name) for name in targets())),
        outcomes=(),
    )
