"""README's tables of loaders, in Markdown: the best row of each loader, and its ratio to another loader.

A ratio is taken between the runs of the same repeat, which followed each other closely. Its median stands first, then
its lowest and highest value. So a machine whose speed changes slowly does not change the ratio.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from ..machine.environment import Machine
from ..measuring.record import Record, read_records
from ..results.ranking import CEILING, Pair, Ranking, Row, cold_and_warm, tabulate

OURS, BASELINE = "threaded", "imagefolder"


def loaders(records: Path) -> str:
    """Return a table for each machine: every loader with its best number of workers, against ``imagefolder``."""
    return _bench(records / "loaders", f"times `{BASELINE}`", BASELINE, lambda row, base: (row, base))


def cold(records: Path) -> str:
    """Return a table for each machine of a bench with ``--cache both``: whole runs with their first batch."""
    texts: list[str] = []
    for table in _tables(records / "cold"):
        pairs = sorted(cold_and_warm(table), key=lambda pair: -pair.cold.whole_images_per_second)
        if not pairs:
            continue
        lines = [
            f"{_bench_heading(table, 'cold', pairs[0].cold.batch_size)}:",
            "",
            "| loader | workers | cold, images/s | warm, images/s | cold / warm | from the disk, kB/image |",
            "|---|---:|---:|---:|---:|---:|",
            *map(_cold_line, pairs),
        ]
        texts.append("\n".join(lines))
    return "\n\n".join(texts)


def peers(records: Path) -> str:
    """Return a table for each machine: ``threaded`` against the best row of every other project's loader."""
    return _bench(records / "peers", f"`{OURS}` is faster by", OURS, lambda row, base: (base, row))


def _bench(folder: Path, ratio: str, base: str, order: Callable[[Row, Row], tuple[Row, Row]]) -> str:
    """Return tables of bench records; ``ratio`` is the heading for the ratio of ``order``'s first row to its second."""
    texts: list[str] = []
    for table in _tables(folder):
        for state in dict.fromkeys((row.cache, row.batch_size) for row in table.rows):
            best = _best([row for row in table.rows if (row.cache, row.batch_size) == state])
            pairs = {row.loader: order(row, best[base]) for row in best.values() if base in best}
            lines = [
                f"{_bench_heading(table, *state)}:",
                "",
                f"| loader | workers | images/s | spread | {ratio} | CPU ms/image | memory |",
                "|---|---:|---:|---:|---:|---:|---:|",
                *(_bench_line(row, _ratio(table, *pairs[row.loader]) if pairs else "-") for row in best.values()),
            ]
            texts.append("\n".join(lines))
    return "\n\n".join(texts)


def _tables(folder: Path) -> list[Ranking]:
    """Return the tables of the records below a folder, separate for each machine."""
    folders = sorted({path.parent for path in folder.rglob("*.json")})
    machines: dict[Machine, list[Record]] = {}
    for record in read_records(folders) if folders else []:
        machines.setdefault(record.environment.machine, []).append(record)
    return [table for records in machines.values() for table in tabulate(records)]


def _cold_line(pair: Pair) -> str:
    cold, warm = pair.cold, pair.warm
    rates = f"{cold.whole_images_per_second:,.0f} | {warm.whole_images_per_second:,.0f} | {pair.ratio:.2f}"
    disk = "-" if cold.disk_bytes_per_image is None else f"{cold.disk_bytes_per_image / 1000:.0f}"
    return f"| `{cold.loader}` | {cold.workers} | {rates} | {disk} |"


def _bench_heading(table: Ranking, cache: str, batch_size: int) -> str:
    records = [r for r in table.records if (r.cache, r.config.batch_size) == (cache, batch_size)]
    runs = len({record.repeat for record in records})
    return (
        f"{machine_name(table.machine)}, {records[-1].date[:10]}; {table.samples:,} images of {table.dataset} "
        f"{table.split}, {table.image_size} px, batches of {batch_size}, {cache} cache, "
        f"{runs} interleaved runs of {records[0].seconds:g} s"
    )


def _best(rows: Sequence[Row]) -> dict[str, Row]:
    """Return the fastest row of each loader, fastest loader first and the ceiling last."""
    ordered = sorted(rows, key=lambda row: (row.loader == CEILING, -row.images_per_second))
    names = dict.fromkeys(row.loader for row in ordered)
    return {name: next(row for row in ordered if row.loader == name) for name in names}


def _bench_line(row: Row, ratio: str) -> str:
    cpu = "-" if row.cpu_ms_per_image is None else f"{row.cpu_ms_per_image:.2f}"
    memory = "-" if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e6:,.0f} MB"
    cells = (f"`{row.loader}`", row.workers, f"{row.images_per_second:,.0f}", f"{row.spread:.1%}", ratio, cpu, memory)
    return f"| {' | '.join(map(str, cells))} |"


def _ratio(table: Ranking, above: Row, below: Row) -> str:
    over, under = _runs(table, above), _runs(table, below)
    ratios = sorted(over[repeat] / under[repeat] for repeat in over.keys() & under.keys())
    if above is below or not ratios or CEILING in (above.loader, below.loader):
        return "1" if above is below else "-"
    middle = f"{median(ratios):.2f}"
    return middle if len(ratios) == 1 else f"{middle} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _runs(table: Ranking, row: Row) -> dict[int, float]:
    """Return images/s of the row's runs, by repeat."""
    return {
        record.repeat: record.measurement.images_per_second
        for record in table.records
        if (record.loader, record.config.workers, record.config.batch_size, record.cache)
        == (row.loader, row.workers, row.batch_size, row.cache)
    }


def machine_name(machine: Machine) -> str:
    """Return a machine in words, for readers to compare with their own."""
    words = (f"{machine.cpus} CPUs of {machine.cpu or 'an unknown kind'}", f"{machine.memory_gib} GiB", machine.gpu)
    return ", ".join(word for word in (*words, machine.system) if word)
