"""Reasons to doubt a table, and what to do about them: each complaint ends with the next step."""

from collections.abc import Sequence

from ..measuring.measure import LEAST_WINDOWS
from ..measuring.record import Record
from .ranking import CEILING, Ranking, Row

WAVERING = 0.10
"""A row is unsteady from this spread on; pyperf uses the same limit for the standard deviation."""
BUSY = 0.25
"""Load per usable CPU, before measuring, from which other programs affect the result."""
AHEAD = 0.5
"""Share of its images' bytes that a cold run must read inside its windows for its rate to be that of the disk."""
GAPS = 0.10
"""Share of time spent starting epochs from which a data set is too small to represent a large one."""


def complaints(table: Ranking) -> list[str]:
    """Return the reasons to doubt ``table``, most important first."""
    found = [
        _wavering(table.rows),
        _measured_once(table.rows),
        _crowded(table),
        _busy(table.records),
        _without_ceiling(table.rows),
        _unknown_cache(table),
        _few_windows(table.records),
        _read_ahead(table.records),
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
        f"The spread is {WAVERING:.0%} or more in {len(unsteady)} of {len(rows)} rows, "
        f"and {worst.spread:.0%} for {worst.name}; close other programs or measure longer: --seconds 10 --repeats 5."
    )


def _measured_once(rows: Sequence[Row]) -> str | None:
    if all(row.runs > 1 for row in rows):
        return None
    return "Some rows were measured once, so their spread is that within one run; add: --repeats 3."


def _crowded(table: Ranking) -> str | None:
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
    return f"The ceiling was not measured, so the possible gain is unknown; add: --loader {CEILING}."


def _unknown_cache(table: Ranking) -> str | None:
    unknown = [row for row in table.rows if row.cache == "unknown"]
    if not unknown:
        return None
    if any(row.is_cold for row in unknown):
        return (
            "feedline could not confirm that the data had left the page cache before the cold runs, so some of it may "
            "have come from memory; put the data on a local disk under Linux, where no other process has it open."
        )
    return (
        "feedline could not confirm that the data were in the page cache: they may not fit into free memory, or the "
        "system does not report it; for a steady number, measure a part of the data set."
    )


def _few_windows(records: Sequence[Record]) -> str | None:
    short = [record for record in records if len(record.measurement.windows) < LEAST_WINDOWS]
    if not short:
        return None
    fewest = min(short, key=lambda record: len(record.measurement.windows))
    seconds = sum(window.seconds for window in (*fewest.measurement.warmup, *fewest.measurement.windows))
    return (
        f"{fewest.data.samples:,} images are few for a cold run, which reads each image once: {fewest.loader} ended "
        f"after {seconds:.2g} s, with {len(fewest.measurement.windows)} of at least {LEAST_WINDOWS} windows; "
        f"measure more images, or take shorter windows with --seconds {seconds * 1.5:.1g}."
    )


def _read_ahead(records: Sequence[Record]) -> str | None:
    shares = {record.loader: share for record in records if (share := _share_in_windows(record)) < AHEAD}
    if not shares:
        return None
    loader, share = min(shares.items(), key=lambda item: item[1])
    return (
        f"{loader} read most of its cold data before the windows began (the windows read {share:.0%} of the bytes of "
        f"their images), because the kernel reads ahead. Its cold images/s is therefore that of memory; compare the "
        f"whole runs, or measure more images."
    )


def _share_in_windows(record: Record) -> float:
    """Return the bytes per image that a cold run read in its windows, as a share of those of the whole run."""
    run = record.measurement
    if record.cache != "cold" or not run.bytes_read or not run.bytes_read.disk or not run.bytes_read_in_windows:
        return 1.0
    return (run.bytes_read_in_windows.disk / run.samples) / (run.bytes_read.disk / run.samples_seen)


def _short_epochs(table: Ranking) -> str | None:
    worst = max(table.rows, key=lambda row: row.gap_fraction)
    if worst.gap_fraction < GAPS:
        return None
    return (
        f"With {table.samples:,} images an epoch is short: {worst.name} spent {worst.gap_fraction:.0%} of the time "
        f"starting epochs, and a large data set spends little there; measure with more images."
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
        "The CPU governor is powersave, which changes the clock during a run; "
        "choose another: cpupower frequency-set -g performance."
    )
