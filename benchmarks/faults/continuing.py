"""A record that grows: begun, continued under the same settings, also by another version of feedline."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ...prep import MeasurementError, read_document
from ..machine.environment import capture
from ..measuring.record import running_code
from .record import FaultsRecord, Outcome, Part


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
