"""A data set of 100 million samples, generated and opened: python -m feedline.benchmarks.scale --out FILE

It writes the manifest and the indexes of ``--shards`` shards into a temporary folder below TMPDIR: 5 GB of indexes and
0.8 GB of order for 100 million samples, removed at the end. The shards are files without contents. One process opens
it and keeps the order; then ``--ranks`` processes open it at the same time, and find the rows of 400 batches. The pages
of the indexes are in the page cache if memory suffices, since they were just written. Then it computes how windows
of shards mix ``--mixed`` samples. Linux.
"""

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from ...prep import MANIFEST, SHARDS, FeedlineError, OutputError, write_document
from ...prep.base.manifest import Order
from ..machine.environment import capture
from ..measuring.record import running_code
from .made_root import make_root
from .mixing import measure_mixing
from .opening import open_as_ranks
from .record import ScaleRecord, cost_table, mixing_table, opening_table

CLASSES = 1000
MIXED: tuple[tuple[Order, int], ...] = (
    ("shuffled", 0),
    ("shuffled", 1),
    ("shuffled", 4),
    ("shuffled", 16),
    ("two-level", 4),
    ("two-level", 16),
    ("sequential", 4),
    ("sequential", 16),
)


@click.command()
@click.option("--samples", type=click.IntRange(min=1), default=100_000_000, help="Samples to make and open.")
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    default=2400,
    help="Shards that they stand in; of images of 24 kB, 2,400 have 1 GB each.",
)
@click.option("--ranks", type=click.IntRange(min=1), default=2, help="Processes that open them at once.")
@click.option("--mixed", type=click.IntRange(min=1), default=1_281_167, help="Samples to mix, in shards of 2,500.")
@click.option("--note", default="", help="A sentence for the record, such as what else the machine did.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default="scale.json")
def main(samples: int, shards: int, ranks: int, mixed: int, note: str, out: Path) -> None:
    """Measure opening and mixing of many samples."""
    if out.exists():
        raise OutputError(f"{out} exists already; choose another name with --out")
    options = {"--samples": samples, "--shards": shards, "--ranks": ranks, "--mixed": mixed}
    parts = max(1, mixed // 2500)
    with tempfile.TemporaryDirectory(prefix="feedline-scale-") as place:
        os.environ["XDG_CACHE_HOME"] = str(Path(place) / "cache")
        root = make_root(Path(place) / "data", samples=samples, shards=shards, classes=CLASSES)
        (first,) = open_as_ranks(root, 1)
        record = ScaleRecord(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            command=("python", "-m", "feedline.benchmarks.scale", *(str(w) for pair in options.items() for w in pair)),
            code=running_code(),
            environment=capture(),
            note=note,
            samples=samples,
            shards=shards,
            first=first,
            ranks=tuple(open_as_ranks(root, ranks)),
            index_bytes=sum(file.stat().st_size for file in (root / SHARDS).glob("*.index")),
            order_bytes=sum(file.stat().st_size for file in Path(place, "cache").rglob("*.order")),
            manifest_bytes=(root / SHARDS / MANIFEST).stat().st_size,
            mixed_samples=mixed,
            mixed_shards=parts,
            mixed_classes=CLASSES,
            mixing=tuple(measure_mixing(mixed, parts, CLASSES, *way) for way in MIXED),
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_document(out, record)
    click.echo("\n\n".join([opening_table(record), mixing_table(record), cost_table(record)]))


if __name__ == "__main__":
    try:
        main()
    except FeedlineError as error:
        sys.exit(f"feedline: {error}")
