"""README's tables of loaders, in Markdown: the best row of each loader, and its ratio to another loader.

A ratio is taken between the runs of the same repeat, which followed each other closely. Its median stands first, then
its lowest and highest value. So a machine whose speed changes slowly does not change the ratio.

A ratio that the project has set itself stands next to the measured one, whether it is reached or missed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from ..machine.environment import Machine
from ..measuring.record import Record, read_records
from ..results.ranking import CEILING, Pair, Ranking, Row, cold_and_warm, tabulate

OURS, OURS_RAW, BASELINE = "threaded", "threaded-raw", "imagefolder"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A column of ratios to one loader, whose goals have a column of their own if there are any."""

    heading: str
    base: str
    base_first: bool
    """Whether the base is divided by the row's loader, or the other way round."""
    goals: Mapping[str, float] = field(default_factory=dict[str, float])
    """The least ratio to reach, by the row's loader."""


PEERS = (
    Ratio(
        heading=f"`{OURS}` is faster by",
        base=OURS,
        base_first=True,
        goals={"torchvision": 5.0, "dali-reader": 4.0, "ffcv": 4.5, "litdata": 4.0},
    ),
)
"""Of 224 px crops of full-size photographs."""
SMALL_PEERS = (
    Ratio(
        heading=f"`{OURS}` is faster by",
        base=OURS,
        base_first=True,
        goals={"torchvision": 6.5, "dali-reader": 3.0, "ffcv": 3.0},
    ),
    Ratio(
        heading=f"`{OURS_RAW}` is faster by",
        base=OURS_RAW,
        base_first=True,
        goals={"dali-reader": 4.0, "ffcv-raw": 3.0},
    ),
)
"""Of 64 px crops of Tiny-ImageNet's images."""


def loaders(records: Path) -> str:
    """Return a table for each machine: every loader with its best number of workers, against ``imagefolder``."""
    return _bench(records / "loaders", [Ratio(heading=f"times `{BASELINE}`", base=BASELINE, base_first=False)])


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
    return _bench(records / "peers", PEERS)


def small_peers(records: Path) -> str:
    """Return the same at Tiny-ImageNet's size, with the loaders over decoded pixels too."""
    return _bench(records / "peers-small", SMALL_PEERS)


def _bench(folder: Path, ratios: Sequence[Ratio]) -> str:
    """Return tables of bench records; a column of ratios without its base is left out."""
    texts: list[str] = []
    for table in _tables(folder):
        for state in dict.fromkeys((row.cache, row.batch_size) for row in table.rows):
            best = _best([row for row in table.rows if (row.cache, row.batch_size) == state])
            columns = [ratio for ratio in ratios if ratio.base in best] or ratios[:1]
            headings = [cell for ratio in columns for cell in (ratio.heading, *(["goal"] if ratio.goals else []))]
            lines = [
                f"{_bench_heading(table, *state)}:",
                "",
                f"| loader | workers | images/s | spread | {' | '.join(headings)} | CPU ms/image | memory |",
                f"|---|{'---:|' * (len(headings) + 5)}",
                *(
                    _bench_line(row, [cell for one in columns for cell in _cells(table, row, best, one)])
                    for row in best.values()
                ),
            ]
            texts.append("\n".join(lines))
    return "\n\n".join(texts)


def _cells(table: Ranking, row: Row, best: Mapping[str, Row], ratio: Ratio) -> list[str]:
    """Return the cell of the ratio, and that of the goal if the ratio has goals."""
    base = best.get(ratio.base)
    found = [] if base is None else _ratios(table, *((base, row) if ratio.base_first else (row, base)))
    cells = ["1" if base is row else "-" if not found else _range(found)]
    if ratio.goals:
        goal = ratio.goals.get(row.loader)
        reached = "" if not found or goal is None else ", reached" if median(found) >= goal else ", missed"
        cells.append("-" if goal is None else f"{goal:g}{reached}")
    return cells


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


def _bench_line(row: Row, ratios: Sequence[str]) -> str:
    cpu = "-" if row.cpu_ms_per_image is None else f"{row.cpu_ms_per_image:.{2 if row.cpu_ms_per_image >= 0.1 else 3}f}"
    memory = "-" if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e6:,.0f} MB"
    cells = (f"`{row.loader}`", row.workers, f"{row.images_per_second:,.0f}", f"{row.spread:.1%}", *ratios, cpu, memory)
    return f"| {' | '.join(map(str, cells))} |"


def _ratios(table: Ranking, above: Row, below: Row) -> list[float]:
    """Return the ratios of the runs of the same repeat, sorted; none for the ceiling or a loader and itself."""
    over, under = _runs(table, above), _runs(table, below)
    if above is below or CEILING in (above.loader, below.loader):
        return []
    return sorted(over[repeat] / under[repeat] for repeat in over.keys() & under.keys())


def _range(ratios: Sequence[float]) -> str:
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
