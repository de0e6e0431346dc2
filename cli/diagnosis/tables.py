"""The tables that ``feedline diagnose`` prints."""

from typing import TYPE_CHECKING

from rich.table import Table as RichTable

if TYPE_CHECKING:
    from ...benchmarks.diagnose.diagnose import Diagnosis
    from ...benchmarks.diagnose.verdict import Rate


def runs_table(found: "Diagnosis") -> RichTable:
    """Return the rates of the four differential runs."""
    table = table_of("run", "images/s", "spread", "ms per image")
    runs = {
        "model alone": found.model,
        "loader alone, warm": found.warm,
        "loader alone, cold": found.cold,
        f"together, {found.state}": found.together,
    }
    for name, rate in runs.items():
        table.add_row(name, *_cells(rate))
    return table


def _cells(rate: "Rate | None") -> tuple[str, ...]:
    if rate is None:
        return ("unknown", "-", "-")
    return (f"{rate.images_per_second:,.0f}", f"{rate.spread:.1%}", f"{1000 / rate.images_per_second:.2f}")


def split_table(found: "Diagnosis") -> RichTable:
    """Return the time of one image by stage."""
    parts = found.profile.as_is.parts
    table = table_of(f"{found.loader}, one thread", "ms per image", "share")
    for name, milliseconds in parts.items():
        table.add_row(name, f"{milliseconds:.3f}", f"{milliseconds / sum(parts.values()):.0%}")
    table.add_row("step of the model", f"{1000 / found.model.images_per_second:.3f}", "")
    return table


def curve_table(found: "Diagnosis") -> RichTable:
    """Return the rates of the loaders alone, by number of workers."""
    table = table_of("loader alone, warm", "workers", "images/s", "spread", "")
    for point in found.curve:
        knee = "recommended" if (point.loader, point.workers) == (found.loader, found.workers) else ""
        rate = point.rate
        table.add_row(point.loader, str(point.workers), f"{rate.images_per_second:,.0f}", f"{rate.spread:.1%}", knee)
    return table


def what_if_table(found: "Diagnosis") -> RichTable:
    """Return the predicted rates, by disk and encoding."""
    encodings = list(dict.fromkeys(row.encode for row in found.what_if))
    table = table_of(f"what if (training, {found.loader})", *encodings, f"ImageNet epoch, {encodings[0]}")
    for disk in dict.fromkeys(row.disk for row in found.what_if):
        rows = {row.encode: row for row in found.what_if if row.disk == disk}
        rates = [f"{rows[encode].images_per_second:,.0f}" for encode in encodings]
        table.add_row(disk, *rates, rows[encodings[0]].epoch_time)
    return table


def table_of(first: str, *others: str) -> RichTable:
    """Return an empty table: text in the first column, numbers in the others."""
    table = RichTable(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
