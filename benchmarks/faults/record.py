"""The record of injected faults. It is continued under the same settings, also by another version of feedline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ...prep import MeasurementError, read_document
from ..machine.environment import Environment, capture
from ..measuring.record import Code, running_code
from .advice import Way
from .kinds import Kind


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one fault did, and what came out in the end."""

    target: str
    """The disturbed command, or ``epochs`` and the loader."""
    kind: Kind
    detail: str
    moment: float
    """Seconds from the start, or from the first output, to the fault."""
    met: bool = True
    """Whether the fault met the command. If it did not, the command had ended before it, or never reached the limit,
    and came out right."""
    code: int | None
    """Exit code of the disturbed process: 0 if the fault did not end it, negative for a signal, None for a hang."""
    said: str
    """The last line of its output; if no further command succeeded, that of the last one."""
    ways: tuple[Way, ...] = ()
    """How each further command was found, until one succeeded."""
    survived: bool
    """Whether the work was done in the end; of epochs, whether they went on or ended with a sentence. A process that
    was only stopped, or whose clock jumped, must not have ended at all."""
    skipped: int = 0
    """Samples of finished epochs that the loader reported as damaged."""
    lost: int = 0
    """Images or samples that should be in the result and are not, without a report of them."""
    wrong: bool = False
    """Whether anything in the result differs from that of an undisturbed run."""
    hung: bool = False
    crashed: bool = False
    """Whether it ended by a signal that the fault did not send, by an exit code that has no meaning, or with a
    traceback or a bug report."""
    trace: str = ""
    """The end of the output from the first traceback on, if it crashed."""
    processes_left: int = 0
    shared_memory_left: int = 0
    files_left: int = 0
    """Temporary files and open file descriptors."""
    grown_bytes: int | None = None
    """Of epochs that went on: by how much more the process's own memory grew than without the fault."""

    @property
    def left(self) -> int:
        """Everything that was left behind."""
        return self.processes_left + self.shared_memory_left + self.files_left

    @property
    def right(self) -> bool:
        """Whether nothing is to be said against it."""
        bad = self.lost or self.wrong or self.hung or self.crashed or self.left
        return self.survived and not bad


@dataclass(frozen=True, kw_only=True)
class Part:
    """The outcomes of one version of feedline, in a record that was continued."""

    date: str
    """When the first of them was injected, ISO 8601, UTC."""
    code: Code
    outcomes: int


@dataclass(frozen=True, kw_only=True)
class FaultsRecord:
    """The document of one campaign."""

    format: Literal["feedline-faults"] = "feedline-faults"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    """The versions of feedline under which the outcomes came out, oldest first."""
    environment: Environment
    seed: int
    faults: int
    """Faults to inject; the record has fewer if the campaign was stopped."""
    limit_seconds: float
    """Seconds from which a command counts as hanging."""
    not_injected: tuple[str, ...]
    """Kinds of faults that this machine or user could not inject."""
    outcomes: tuple[Outcome, ...]

    @property
    def injected(self) -> int:
        """The number of faults that met a command."""
        return sum(one.met for one in self.outcomes)


def begun(out: Path, seed: int, faults: int, limit_seconds: float, command: Sequence[str]) -> FaultsRecord:
    """Return the record in ``out``, or an empty one. Raises MeasurementError for one of other settings."""
    environment = capture()
    if not out.exists():
        return FaultsRecord(
            date=_now(),
            command=tuple(command),
            environment=environment,
            seed=seed,
            faults=faults,
            limit_seconds=limit_seconds,
            not_injected=(),
            outcomes=(),
        )
    record = read_document(out, FaultsRecord)
    same = (record.seed, record.limit_seconds) == (seed, limit_seconds)
    if not same or record.environment.machine != environment.machine:
        raise MeasurementError(
            f"{out} holds faults of seed {record.seed} with a limit of {record.limit_seconds:g} s, of "
            f"{record.environment.machine.cpu}; choose another --out"
        )
    return replace(record, command=tuple(command), faults=max(faults, record.injected))


def with_outcome(record: FaultsRecord, outcome: Outcome) -> FaultsRecord:
    """Return the record with one more outcome, which came out under the version of feedline that runs."""
    code, parts = running_code(), record.parts
    if parts and parts[-1].code == code:
        parts = (*parts[:-1], replace(parts[-1], outcomes=parts[-1].outcomes + 1))
    else:
        parts = (*parts, Part(date=_now(), code=code, outcomes=1))
    return replace(record, parts=parts, outcomes=(*record.outcomes, outcome))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
