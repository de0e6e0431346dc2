"""The ranking of the loaders in records: medians, their spread, and their share of the ceiling.

The rate of a configuration is the median over its runs. Its spread is (highest - lowest) / median over the same runs.
Three to five runs are too few for a quartile or a standard deviation. A configuration with a single run is divided
into thirds instead. Their range shows less, because changes from process to process are not in it.

The fastest loader is the one with the fastest row that a training can use; ``cached`` is the ceiling and never wins.
Its rival is the fastest row of another loader, or its own second best row if there is no other loader. The verdict is
inconclusive if the two differ by less than the larger of their spreads. Warm and cold rows answer different questions:
the verdict uses the warm rows if there are any. The ceiling reads nothing while it is measured, so one ceiling serves
both.

A record has no utilisation of accelerators, and needs none: it follows from the rate. So rows of every schema have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from ..machine.cache import AskedCache, CacheState
from ..machine.environment import Machine
from ..measuring.measure import Window
from ..measuring.record import Record, require_one_machine
from ..utilisation.accelerators import H100, IMAGE_SIZE, utilisation_of

CEILING = "cached"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration: a loader, its workers, a batch size and a state of the cache."""

    loader: str
    workers: int
    batch_size: int
    cache: CacheState
    """As checked before each run."""
    cache_asked: AskedCache | None
    """As requested; None in records of schema 1."""
    name: str
    """The row's name in sentences, with batch size and cache if the table has several of them."""
    images_per_second: float
    """Median over the runs."""
    lowest: float
    highest: float
    spread: float
    """(highest - lowest) / median, as a fraction."""
    runs: int
    of_ceiling: float | None
    """Fraction of the rate of ``cached`` with the same batch size; None if that was not measured."""
    h100_au: float | None
    """Utilisation, 0 to 1, of one H100 that gets its images at this rate: computed from the rate and MLPerf Storage's
    time of a step, not emulated. None for the ceiling, and for other images than those of training at 224 px."""
    first_batch_seconds: float
    """Median time from opening the loader to its first batch."""
    gap_fraction: float
    """Share of the measured time that starting further epochs took, beyond the time of one batch each."""
    cpu_ms_per_image: float | None
    disk_bytes_per_image: float | None
    """Median of the bytes that storage delivered for each image of the whole run; None if the system does not count."""
    whole_images_per_second: float
    """Median over the runs, with first batch and warm-up: the rate by which cold runs are compared."""
    peak_rss_bytes: int | None

    @property
    def is_cold(self) -> bool:
        """Whether a cold run was requested: it ended with its first epoch, whatever the cache really held."""
        return self.cache_asked == "cold"

    @property
    def state(self) -> str:
        """The state of the cache, or the requested state if it could not be confirmed."""
        return "cold, unconfirmed" if self.is_cold and self.cache != "cold" else self.cache


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same configuration, cold and warm."""

    cold: Row
    warm: Row

    @property
    def ratio(self) -> float:
        """Cold over warm throughput, of whole runs with their first batches."""
        return self.cold.whole_images_per_second / self.warm.whole_images_per_second


@dataclass(frozen=True, kw_only=True)
class Fastest:
    """The fastest loader of a ranking, with the sentence about it."""

    loader: str
    workers: int
    batch_size: int
    cache: CacheState
    inconclusive: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Rows that may be compared: same machine, images, size and transform."""

    machine: Machine
    dataset: str
    split: str
    image_size: int
    samples: int
    rows: tuple[Row, ...]
    verdict: Fastest | None
    """None if only the ceiling was measured."""
    records: tuple[Record, ...]
    """The records of the rows."""

    @property
    def pixels(self) -> str:
        """The image size, and the difference from the reference decoding if there is one."""
        config = self.records[0].config
        changed = ", DCT-scaled" if config.dct_scaling else "" if config.pixels == "exact" else f", {config.pixels}"
        return f"{self.image_size} px{changed}"


def tabulate(records: Sequence[Record]) -> list[Ranking]:
    """Return one table for each combination of images, split, size, transform and decoding among ``records``.

    Raises MeasurementError if the records come from different machines.
    """
    machine = require_one_machine(records)
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        config = record.config
        key = (record.data.manifest_sha256, config.split, config.image_size, config.transform, config.device)
        key += (config.decode, config.dct_scaling, config.pixels)
        groups.setdefault(key, []).append(record)
    return [_table(machine, group) for group in groups.values()]


def curves(table: Ranking) -> dict[str, list[Row]]:
    """Return the rows that a training can use as curves over workers, by name: one for each loader and setting.

    A name has the batch size and the state of the cache only if the table has several of them.
    """
    batch_sizes = {row.batch_size for row in table.rows}
    states = {row.state for row in table.rows if row.loader != CEILING}
    found: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.loader != CEILING:
            batch_size = f", batch {row.batch_size}" if len(batch_sizes) > 1 else ""
            state = f", {row.state}" if len(states) > 1 else ""
            found.setdefault(f"{row.loader}{batch_size}{state}", []).append(row)
    return found


def cold_and_warm(table: Ranking) -> list[Pair]:
    """Return the configurations of ``table`` that were measured both cold and warm."""
    warm = {(row.loader, row.workers, row.batch_size): row for row in table.rows if row.cache == "warm"}
    cold = [row for row in table.rows if row.cache == "cold"]
    found = [(row, warm.get((row.loader, row.workers, row.batch_size))) for row in cold]
    return [Pair(cold=row, warm=other) for row, other in found if other is not None]


def ceiling_of(table: Ranking) -> float | None:
    """Return the highest rate of ``cached`` in ``table``, or None if it was not measured."""
    return max((row.images_per_second for row in table.rows if row.loader == CEILING), default=None)


def _table(machine: Machine, records: Sequence[Record]) -> Ranking:
    groups: dict[tuple[str, int, int, CacheState, bool], list[Record]] = {}
    ceilings: dict[int, list[Record]] = {}
    for record in records:
        key = (
            record.loader,
            record.config.workers,
            record.config.batch_size,
            record.cache,
            record.cache_asked == "cold",
        )
        groups.setdefault(key, []).append(record)
        if record.loader == CEILING:
            ceilings.setdefault(record.config.batch_size, []).append(record)
    rows = [_row(group, ceilings.get(key[2])) for key, group in groups.items()]
    rows.sort(key=lambda row: (row.loader == CEILING, row.loader, row.is_cold, row.cache, row.batch_size, row.workers))
    rows = _named(rows)
    first = records[0]
    return Ranking(
        machine=machine,
        dataset=first.data.dataset,
        split=first.config.split,
        image_size=first.config.side,
        samples=first.data.samples,
        rows=tuple(rows),
        verdict=_verdict(rows),
        records=tuple(records),
    )


def _named(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with names that distinguish them."""
    batch_sizes, states = {row.batch_size for row in rows}, {row.state for row in rows if row.loader != CEILING}

    def named(row: Row) -> Row:
        batch_size = [f"batch {row.batch_size}"] if len(batch_sizes) > 1 else []
        state = [row.state] if len(states) > 1 or row.is_cold else []
        return replace(row, name=f"{row.name} ({', '.join(batch_size + state)})") if batch_size + state else row

    return [named(row) for row in rows]


def _row(records: Sequence[Record], ceilings: Sequence[Record] | None) -> Row:
    rate, rates = _rate(records), _rates(records)
    first, runs = records[0], [record.measurement for record in records]
    windows = [window for run in runs for window in run.windows]
    gaps = [gap for run in runs for gap in run.gap_seconds]
    batch_seconds = first.config.batch_size / rate
    cpu = [run.cpu_seconds / run.samples for run in runs if run.cpu_seconds is not None]
    disk = [run.bytes_read.disk / run.samples_seen for run in runs if run.bytes_read is not None]
    return Row(
        loader=first.loader,
        workers=first.config.workers,
        batch_size=first.config.batch_size,
        cache=first.cache,
        cache_asked=first.cache_asked,
        name=f"{first.loader} with {first.config.workers} worker{'s' if first.config.workers != 1 else ''}",
        images_per_second=rate,
        lowest=min(rates),
        highest=max(rates),
        spread=(max(rates) - min(rates)) / rate,
        runs=len(records),
        of_ceiling=rate / _rate(ceilings) if ceilings else None,
        h100_au=h100_au(first, rate),
        first_batch_seconds=median(r.open_seconds + r.measurement.first_batch_seconds for r in records),
        gap_fraction=sum(max(0.0, gap - batch_seconds) for gap in gaps) / sum(window.seconds for window in windows),
        cpu_ms_per_image=1000 * median(cpu) if cpu else None,
        disk_bytes_per_image=median(disk) if disk else None,
        whole_images_per_second=median(run.whole_images_per_second for run in runs),
        peak_rss_bytes=max((r.peak_rss_bytes for r in records if r.peak_rss_bytes is not None), default=None),
    )


def h100_au(record: Record, rate: float) -> float | None:
    """Return ``Row.h100_au`` of a rate in images/s that the record's configuration reached."""
    as_published = record.config.side == IMAGE_SIZE and record.config.transform == "train"
    return utilisation_of(H100, rate) if as_published and record.loader != CEILING else None


def _rate(records: Sequence[Record]) -> float:
    return median(record.measurement.images_per_second for record in records)


def _rates(records: Sequence[Record]) -> list[float]:
    """Return the rates whose range is the spread: one for each run, or one for each third of a single run."""
    if len(records) > 1:
        return [record.measurement.images_per_second for record in records]
    windows = records[0].measurement.windows
    bounds = [round(len(windows) * third / 3) for third in range(4)]
    thirds = [windows[start:stop] for start, stop in pairwise(bounds) if start < stop]
    return [_rate_of(third) for third in thirds]


def _rate_of(windows: Sequence[Window]) -> float:
    return sum(window.samples for window in windows) / sum(window.seconds for window in windows)


def _verdict(rows: Sequence[Row]) -> Fastest | None:
    trainable = [row for row in rows if row.loader != CEILING]
    if not trainable:
        return None
    judged = [row for row in trainable if not row.is_cold] or trainable
    best, *others = sorted(judged, key=lambda row: -row.images_per_second)
    sentence, inconclusive = f"{best.name} reaches {best.images_per_second:,.0f} images/s.", False
    if others:
        rival = next((row for row in others if row.loader != best.loader), others[0])
        difference = best.images_per_second - rival.images_per_second
        spread = max(row.spread * row.images_per_second for row in (best, rival))
        inconclusive = difference < spread
        sentence = _undecided(best, rival) if inconclusive else _decided(best, rival)
    return Fastest(
        loader=best.loader,
        workers=best.workers,
        batch_size=best.batch_size,
        cache=best.cache,
        inconclusive=inconclusive,
        sentence=sentence,
    )


def _decided(best: Row, rival: Row) -> str:
    return (
        f"{best.name} is the fastest: {best.images_per_second:,.0f} images/s, "
        f"{best.images_per_second / rival.images_per_second:.2f} times {rival.name}."
    )


def _undecided(best: Row, rival: Row) -> str:
    return (
        f"Inconclusive: {best.name} ({best.images_per_second:,.0f} images/s) and {rival.name} "
        f"({rival.images_per_second:,.0f}) differ by less than their spread; "
        f"measure longer: --seconds 10 --repeats 5."
    )
