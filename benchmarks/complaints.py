"""When not to believe a table, and what to do about it: each complaint ends with the next step."""

from collections.abc import Sequence

from .records import Record
from .tables import CEILING, Row, Table

WAVERING = 0.10
"""Spread from which a number is called unsteady, as pyperf does from this standard deviation on."""
BUSY = 0.25
"""Load per usable CPU, before measuring, from which other programs take part in the result."""
GAPS = 0.10
"""Share of time spent starting epochs from which the data set is too small to speak for a large one."""


def complaints(table: Table) -> list[str]:
    """Return what makes ``table`` less trustworthy than it looks, most important first."""
    found = [
        _wavering(table.rows),
        _measured_once(table.rows),
        _crowded(table),
        _busy(table.records),
        _without_ceiling(table.rows),
        _unknown_cache(table.records),
        _short_epochs(table),
        _other_code(table.records),
        _dirty(table.records),
        _throttled(table.records),
    ]
    return [complaint for complaint in found if complaint is not None]


def _wavering(rows: Sequence[Row]) -> str | None:
    unsteady = [row for row in rows if row.spread >= WAVERING]
    if not unsteady:
        return None
    worst = max(unsteady, key=lambda row: row.spread)
    return (
        f"{len(unsteady)} of {len(rows)} rows waver by {WAVERING:.0%} or more, {worst.name} by {worst.spread:.0%}; "
        f"close other programs or measure longer: --seconds 10 --repeats 5."
    )


def _measured_once(rows: Sequence[Row]) -> str | None:
    if all(row.runs > 1 for row in rows):
        return None
    return "Some rows were measured once, and their spread is only that within the run; add: --repeats 3."


def _crowded(table: Table) -> str | None:
    most = max(row.workers for row in table.rows)
    if most <= table.machine.cpus:
        return None
    return (
        f"{most} workers share {table.machine.cpus} usable CPUs and wait for each other; "
        f"measure with --workers {table.machine.cpus} or fewer."
    )


def _busy(records: Sequence[Record]) -> str | None:
    load = max((r.environment.load_average or 0.0 for r in records), default=0.0)
    cpus = records[0].environment.machine.cpus
    if load < BUSY * cpus:
        return None
    return (
        f"Before measuring, other programs kept the machine busy (load {load:.1f} on {cpus} usable CPUs); "
        f"end them and measure again."
    )


def _without_ceiling(rows: Sequence[Row]) -> str | None:
    if all(row.of_ceiling is not None for row in rows):
        return None
    return f"The ceiling was not measured, so nobody knows how much is left to gain; add: --loader {CEILING}."


def _unknown_cache(records: Sequence[Record]) -> str | None:
    if all(record.cache != "unknown" for record in records):
        return None
    return (
        "The data may not fit into free memory, so some of it came from the disk and some did not; "
        "for a steady number, measure a part of the data set."
    )


def _short_epochs(table: Table) -> str | None:
    worst = max(table.rows, key=lambda row: row.gap_fraction)
    if worst.gap_fraction < GAPS:
        return None
    return (
        f"With {table.samples:,} pictures an epoch is short: {worst.name} spent {worst.gap_fraction:.0%} of the time "
        f"starting epochs, which a large data set hardly does; measure with more pictures."
    )


def _other_code(records: Sequence[Record]) -> str | None:
    versions = sorted({f"{r.code.feedline} {(r.code.commit or '')[:10]}".strip() for r in records})
    libraries = {tuple(sorted(r.environment.libraries.items())) for r in records}
    if len(versions) == 1 and len(libraries) == 1:
        return None
    what = f"feedline {' and '.join(versions)}" if len(versions) > 1 else "different library versions"
    return f"The records were made with {what}; measure again into a new --out directory."


def _dirty(records: Sequence[Record]) -> str | None:
    if not any(record.code.dirty for record in records):
        return None
    return "feedline ran from a checkout with uncommitted changes; commit them and measure again."


def _throttled(records: Sequence[Record]) -> str | None:
    if all(record.environment.governor != "powersave" for record in records):
        return None
    return (
        "The CPU governor is powersave, which changes the clock as it sees fit; "
        "choose another: cpupower frequency-set -g performance."
    )
