"""``feedline shard``: a prepared root to WebDataset shards."""

import re
from pathlib import Path

import click

from .console import echo_json, json_option, progress_bars, say, seed_option, workers_option

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Size(click.ParamType[int]):
    """A number of bytes such as 256MB or 1GiB."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]+)\s*([KMG]?I?B?)", value.strip().upper())
        unit = UNITS.get(match[2]) if match else None
        if match is None or unit is None or not int(match[1]):
            self.fail(f"{value!r} is not a size; write 256MB or 1GiB", param, ctx)
        return int(match[1]) * unit


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where the shards go.  [default: SOURCE/shards]")
@click.option("--split", "splits", multiple=True, help="A labelled split; may be repeated.  [default: all]")
@click.option(
    "--encode", type=click.Choice(["copy"]), default="copy", show_default=True, help="What becomes of a JPEG."
)
@click.option("--order", type=click.Choice(["shuffled", "sequential"]), default="shuffled", show_default=True)
@click.option("--shard-size", type=Size(), default="256MB", show_default=True, help="Pictures per shard, in bytes.")
@click.option("--name", help="Prefix of the shard names.  [default: the data set's name]")
@seed_option
@workers_option("Threads; each writes one shard at a time.")
@json_option
def shard(
    source: Path,
    out: Path | None,
    splits: tuple[str, ...],
    encode: str,
    order: str,
    shard_size: int,
    name: str | None,
    seed: int,
    workers: int,
    as_json: bool,
) -> None:
    """Write WebDataset shards from the prepared root SOURCE.

    \b
    feedline shard data
    """
    from ..prep import SHARDS, ShardSpec, write_shards

    spec = ShardSpec(
        splits=splits or None,
        order=order,  # pyright: ignore[reportArgumentType] - click.Choice
        seed=seed,
        shard_size=shard_size,
        name=name,
    )
    with progress_bars() as progress:
        manifest = write_shards(source, spec, out=out, workers=workers, progress=progress)
    place = out or source / SHARDS
    for split, held in manifest.splits.items():
        size = sum(entry.bytes for entry in held.shards)
        say(f"{split}: {held.samples} samples in {len(held.shards)} shards, {size / 1e6:.1f} MB in {place}")
    if as_json:
        echo_json(
            {
                "shards": str(place),
                "encode": manifest.encode,
                "splits": {
                    split: {"samples": held.samples, "shards": [entry.name for entry in held.shards]}
                    for split, held in manifest.splits.items()
                },
            }
        )
