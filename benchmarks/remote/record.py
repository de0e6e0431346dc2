"""The document of a measurement of shards behind a link, and its tables."""

from dataclasses import dataclass
from statistics import median
from typing import Literal

from ..machine.environment import Environment
from ..measuring.dataset import MeasuredData
from ..measuring.record import Code

Where = Literal["local", "cold", "warm"]
"""Where the shards of a run are: on the local disk, behind the link only, or in the cache too."""


@dataclass(frozen=True, kw_only=True)
class LoaderRun:
    """One run of a loader."""

    loader: str
    where: Where
    first_batch_seconds: float
    """From the request for the first epoch to its first batch."""
    warm_up_seconds: float | None = None
    """From the first batch until the rate counts, in a cold run until all shards were fetched. None in schema 1."""
    images_per_second: float
    """From the end of the warm-up on; in a cold run that is a part of the first epoch."""
    samples_seen: int


@dataclass(frozen=True, kw_only=True)
class ClientRun:
    """One measurement of a client that fetches ranges."""

    client: str
    in_flight: int
    """Requests at a time."""
    limited: bool
    """Whether it was behind the link; else there was no latency and no limit."""
    bytes: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class RowBytes:
    """Mean bytes per image, for the random crops of one epoch."""

    images: int
    shard: float
    """The bytes of all shards divided by their samples: what is fetched."""
    whole: float
    """Of the image file alone."""
    up_to_last_row: float
    """From its first byte to the last row that the crop touches: one request."""
    rows: float
    """Its header and the rows that the crop touches: two requests."""


@dataclass(frozen=True, kw_only=True)
class RemoteRecord:
    """The document of one measurement."""

    format: Literal["feedline-remote"] = "feedline-remote"
    schema: Literal[1, 2] = 2
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    data: MeasuredData
    latency_seconds: float
    bytes_per_second: float
    batch_size: int
    image_size: int
    workers: int
    versions: dict[str, str]
    """Of fsspec, aiohttp and obstore, if they are installed."""
    runs: tuple[LoaderRun, ...]
    clients: tuple[ClientRun, ...]
    rows: RowBytes | None
    """None if the shards have no restart markers."""


def table(record: RemoteRecord) -> str:
    """Return all tables of a record as Markdown."""
    return "\n\n".join(filter(None, (_loaders(record), _clients(record), _rows(record))))


def link_of(record: RemoteRecord) -> str:
    """Return the data and the link of a record in words."""
    return (
        f"{record.data.samples:,} images, {1000 * record.latency_seconds:g} ms of latency, "
        f"{8 * record.bytes_per_second / 1e9:g} Gb/s, batch {record.batch_size}, {record.image_size} px, "
        f"{record.workers} workers, server on the same machine"
    )


def _loaders(record: RemoteRecord) -> str:
    lines = [
        "| loader | local, images/s | spread | cold cache: first batch | all fetched | then images/s | spread "
        "| of local | warm cache, images/s | spread | of local |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for loader in dict.fromkeys(run.loader for run in record.runs):
        found = {where: [run for run in record.runs if (run.loader, run.where) == (loader, where)] for where in PLACES}
        rates = {where: [run.images_per_second for run in runs] for where, runs in found.items()}
        local = median(rates["local"])
        first = median(run.first_batch_seconds for run in found["cold"])
        fetched = median(run.first_batch_seconds + (run.warm_up_seconds or 0) for run in found["cold"])
        cells = [loader, *_middle(rates["local"], "{:,.0f}"), f"{first:.2f} s", f"{fetched:.2f} s"]
        for where in ("cold", "warm"):
            cells += [*_middle(rates[where], "{:,.0f}"), f"{median(rates[where]) / local:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


PLACES: tuple[Where, ...] = ("local", "cold", "warm")


def _clients(record: RemoteRecord) -> str:
    lines = [
        "| ranges of 8 MiB | requests at a time | MB/s | spread | CPU ms per 100 MB | spread |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    keys = {(not run.limited, run.in_flight, run.client) for run in record.clients}
    for free, in_flight, client in sorted(keys):
        key = free, in_flight, client
        runs = [run for run in record.clients if (not run.limited, run.in_flight, run.client) == key]
        name = f"{client} {record.versions.get(client, '')}".strip() + (", no limit" if free else ", the link")
        cells = [name, str(in_flight)]
        cells += _middle([run.bytes / run.seconds / 1e6 for run in runs], "{:,.0f}")
        cells += _middle([1e11 * run.cpu_seconds / run.bytes for run in runs], "{:,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if record.clients else ""


def _rows(record: RemoteRecord) -> str:
    rows = record.rows
    if rows is None:
        return ""

    def share(value: float) -> str:
        return f"{value:,.0f} | {value / rows.shard:.0%}"

    return "\n".join(
        [
            f"| bytes per image, crops of {rows.images:,} images | | of whole shards |",
            "|---|---:|---:|",
            f"| whole shards, one request for each 8 MiB | {share(rows.shard)} |",
            f"| from the image's first byte to the crop's last row, one request | {share(rows.up_to_last_row)} |",
            f"| header, and the rows of the crop, two requests | {share(rows.rows)} |",
        ]
    )


def _middle(values: list[float], form: str) -> list[str]:
    middle = median(values)
    return [form.format(middle), f"{(max(values) - min(values)) / middle:.0%}"]
