"""The record of one measurement of scale, and its tables."""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from ...loaders.store.fetch import RANGE
from ..machine.environment import Environment
from ..measuring.record import Code
from .mixing import Mixing
from .opening import Memory, Opened

SHARD = 10**9  # bytes of a shard behind a URL
GET_PER_MILLION, GB_MONTH, GB_OUT = 0.40, 0.023, 0.09
"""US dollars of Amazon S3 Standard in us-east-1: a million GET requests, a GB for a month, a GB to the internet."""
SETS = (("ImageNet-21k", 14_197_122, 1.31e12), ("LAION-400M at 256 px", 413_000_000, 10e12), ("a billion", 10**9, 1e14))
"""Name, images and bytes of data sets; the last has 100 kB an image."""
STEPS = (("H100", 400 / 0.224), ("A100", 400 / 0.435))
"""Images/s of ResNet-50 on a GPU, as MLPerf Storage emulates it: a batch of 400 in so many seconds."""


@dataclass(frozen=True, kw_only=True)
class ScaleRecord:
    """The document of one measurement."""

    format: Literal["feedline-scale"] = "feedline-scale"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    note: str
    samples: int
    shards: int
    index_bytes: int
    order_bytes: int
    manifest_bytes: int
    first: Opened
    """One process, which writes the order."""
    ranks: tuple[Opened, ...]
    """Processes that open it at the same time afterwards."""
    mixed_samples: int
    mixed_shards: int
    mixed_classes: int
    mixing: tuple[Mixing, ...]


def opening_table(record: ScaleRecord) -> str:
    """Return seconds and memory as Markdown."""
    rows = [
        "| | first opening | " + " | ".join(f"rank {one.rank}" for one in record.ranks) + " | node |",
        "|---|---:|" + "---:|" * (len(record.ranks) + 1),
    ]
    every = (record.first, *record.ranks)

    def add(what: str, values: list[str], node: str = "") -> None:
        rows.append(f"| {what} | {' | '.join(values)} | {node} |")

    add("seconds to open", [f"{one.seconds:.1f}" for one in every])
    add("CPU seconds to open", [f"{one.cpu_seconds:.1f}" for one in every])
    add("CPU seconds to the order of the first batch", [f"{one.order_seconds:.1f}" for one in every])
    add("CPU time to find a sample's row, us", [f"{one.row_microseconds:.1f}" for one in every])
    for name, what in (("anonymous", "not of files"), ("private", "private"), ("rss", "RSS"), ("pss", "PSS")):
        for when, words in (("opened", "opened"), ("used", "after 100,000 rows were read")):
            sizes = [_size(getattr(one, when), name) for one in every]
            node = f"{sum(sizes[1:]):,.0f}" if name in ("anonymous", "pss") else ""
            add(f"MB, {what}, {words}", [f"{size:,.0f}" for size in sizes], node)
    disk = (
        f"{record.samples:,} samples in {record.shards:,} shards: {record.index_bytes / 1e9:.2f} GB of indexes "
        f"({record.index_bytes / record.samples:.0f} bytes per sample, without tiles), {record.order_bytes / 1e6:,.0f} "
        f"MB of kept order, {record.manifest_bytes / 1e6:.1f} MB of manifest. {record.note}"
    )
    return "\n".join([disk.strip(), "", *rows])


def mixing_table(record: ScaleRecord) -> str:
    """Return the statistics of the windows as Markdown."""
    size = record.mixed_samples / record.mixed_shards
    rows = [
        f"{record.mixed_samples:,} samples of {record.mixed_classes} classes, {size:,.0f} in a shard:",
        "",
        "| order in the shards | shards mixed | mean displacement | neighbours of one shard | "
        "still near in the next epoch | classes in a batch of 256 | longest run of a class |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {one.order} | {one.window or 'all: a true shuffle'} | {one.displacement:.3f} | {one.same_shard:.1%} | "
        f"{one.still_near:.1%} | {one.classes:.0f} | {one.longest_run} |"
        for one in record.mixing
    ]
    return "\n".join(rows)


def cost_table(record: ScaleRecord) -> str:
    """Return index sizes, requests and dollars per epoch as Markdown."""
    each = record.index_bytes / record.samples
    rows = [
        "| data set | bytes | indexes | kept order | shards of 1 GB | GET requests per epoch | dollars for them | "
        "dollars to store it for a month | dollars to move an epoch out of the cloud |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, images, size in SETS:
        shards = ceil(size / SHARD)
        requests = shards * ceil(SHARD / RANGE)
        rows.append(
            f"| {name} ({images:,}) | {size / 1e12:,.2f} TB | {images * each / 1e9:,.1f} GB | "
            f"{images * 8 / 1e9:,.2f} GB | {shards:,} | {requests:,} | {requests / 1e6 * GET_PER_MILLION:,.2f} | "
            f"{size / 1e9 * GB_MONTH:,.0f} | {size / 1e9 * GB_OUT:,.0f} |"
        )
    return "\n".join(rows)


def cores_table(ways: dict[str, float]) -> str:
    """Return the cores that feed a GPU, of ways that take so many microseconds of a core per image."""
    rows = ["| GPU | images/s of ResNet-50 | " + " | ".join(ways) + " |", "|---|---:|" + "---:|" * len(ways)]
    rows += [f"| {gpu} | {rate:,.0f} | " + " | ".join(f"{rate * us / 1e6:.1f}" for us in ways.values()) + " |"
             for gpu, rate in STEPS]  # fmt: skip
    return "\n".join(rows)


def _size(memory: Memory, name: str) -> float:
    return getattr(memory, name) / 1e6
