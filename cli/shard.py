"""``feedline shard``: WebDataset shards from a prepared root, or from any source that ``feedline prep`` takes."""

import re
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from ..prep.base.manifest import SHARDS, Encode, Order, ShardManifest
from ..prep.shards.writing.write import Engine
from ..prep.sources.streams import SPLITS
from .console import echo_json, progress_bars, say
from .options import PlaceOrUrl, json_option, seed_option

if TYPE_CHECKING:
    from ..prep import ShardSpec
    from ..prep.store.urls import Url

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
@click.argument("source", type=PlaceOrUrl(path_type=Path))
@click.option(
    "--out",
    type=PlaceOrUrl(path_type=Path),
    help="Directory for the shards, or URL such as s3://bucket/data/shards.  [default: SOURCE/shards]",
)
@click.option("--split", "splits", multiple=True, help="A labelled split; repeatable.  [default: all]")
@click.option(
    "--encode",
    type=click.Choice(get_args(Encode)),
    default="restart",
    show_default=True,
    help="copy keeps each JPEG as it is. restart adds lossless restart markers, for fast crops, and makes progressive "
    "JPEGs sequential. resize also makes it smaller. raw stores the pixels, for small images: nothing is decoded "
    "afterwards, and 64 x 64 pixels take 12 kB.",
)
@click.option(
    "--short-side",
    type=click.IntRange(1, 65535),
    help="Short side in pixels for --encode resize or raw; never enlarges.  [default: 256; raw: as it is]",
)
@click.option("--quality", type=click.IntRange(1, 100), help="JPEG quality for --encode resize.  [default: 90]")
@click.option(
    "--apply-orientation",
    is_flag=True,
    help="Turn images as their EXIF says, which training loaders ignore: without loss where the JPEG allows.",
)
@click.option(
    "--order",
    type=click.Choice(get_args(Order)),
    default="shuffled",
    show_default=True,
    help="Order of the samples; two-level needs fewer seeks of a hard disk.",
)
@click.option("--shard-size", type=Size(), help="Images per shard, in bytes of the source.  [default: 256MB]")
@click.option("--shard-count", type=click.IntRange(min=1), help="Shards of each split, instead of --shard-size.")
@click.option("--name", help="Prefix of the shard names.  [default: the data set's name]")
@click.option(
    "--metadata/--no-metadata", default=True, show_default=True, help="Add a .json to each sample: class, size, name."
)
@click.option("--index-only", is_flag=True, help="Write only the indexes of the shards in SOURCE again.")
@click.option(
    "--split-from",
    multiple=True,
    metavar="NAME=SPLIT",
    help="The split (train, val or test) of a folder or archive whose name does not say it; with --index-only, of "
    "shards: NAME is their folder, or their name without the number. May be repeated.",
)
@seed_option
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    show_default="usable CPUs; with --engine ray those of the cluster",
    help="Threads, or Ray processes; each writes one shard at a time.",
)
@click.option(
    "--engine",
    type=click.Choice(get_args(Engine)),
    default="local",
    show_default=True,
    help="Write in this process, or on a Ray cluster (RAY_ADDRESS) that has the same paths, or reads and writes URLs.",
)
@json_option
@click.pass_context
def shard(
    ctx: click.Context,
    source: "Path | Url",
    out: "Path | Url | None",
    index_only: bool,
    split_from: tuple[str, ...],
    workers: int | None,
    engine: Engine,
    as_json: bool,
    **settings: Any,
) -> None:
    """Write WebDataset shards from SOURCE: a prepared root, or any source that `feedline prep` takes.

    SOURCE may be a prepared root or shards behind a URL, and so may --out: s3://bucket/data/shards.

    Prepare your own images first: feedline prep imagefolder. The sources that need no root are ImageNet's: an
    archive, a folder of archives or images, Kaggle's zip, parquet files, or Tiny-ImageNet.

    \b
    Example:
      feedline shard data
      feedline shard archives --out data/shards
      feedline shard tiny-imagenet-200.zip --out tiny/shards --encode raw
      feedline shard data --out s3://bucket/data/shards
      feedline shard s3://bucket/data --engine ray
      feedline shard folders --out wds --split-from a=train --split-from b=val
      feedline shard --index-only data/shards
      feedline shard --index-only wds --split-from a=train --split-from b=val
    """
    from ..prep import default_place, index_shards, write_shards

    if index_only:
        if out is not None:
            raise click.UsageError("--index-only writes next to the shards; leave --out out")
        if engine != "local":
            raise click.UsageError("--index-only works in this process; leave --engine out")
        if not isinstance(source, Path):
            raise click.UsageError(f"--index-only reads shards on this machine, and {source} is a URL; copy them first")
        _refuse_ignored(ctx, settings)
        place, named = source, _splits_by_name(split_from)
        with progress_bars() as progress:
            manifest = index_shards(source, split_from=named, workers=workers, progress=progress, notice=say)
    else:
        place = out or default_place(source)
        with progress_bars() as progress, _compiled_meanwhile():
            manifest = write_shards(
                source,
                _spec(**settings),
                out=out,
                split_from=_splits_by_name(split_from),
                workers=workers,
                engine=engine,
                progress=progress,
                notice=say,
            )
    _report(place, manifest, as_json)
    if index_only and isinstance(place, Path) and place.absolute().name != SHARDS:
        say(f"A root has its shards in ROOT/{SHARDS}: to load these, move {place} to ROOT/{SHARDS} and give ROOT")


@contextmanager
def _compiled_meanwhile() -> Generator[None]:
    """Compile the decoder of ``threaded`` in a process of its own, which goes on after the shards are written.

    It takes about a minute, once per version and processor. The shards never wait for it: a loader that opens before it
    is compiled decodes in another way. If the shards fail or are interrupted, it ends too.
    """
    try:
        process = _start_compiling()
    except OSError:  # a limit on processes, which ends no writing of shards
        yield
        return
    lines: list[str] = []

    def report() -> None:
        with process:
            for line in process.stdout or ():
                lines.append(line)
                say(line.strip())

    reporter = threading.Thread(target=report, daemon=True)
    try:
        reporter.start()
        yield
    except BaseException:
        process.kill()
        raise
    if lines and process.poll() is None:
        say("The decoder is still being compiled; loaders that open meanwhile decode with libjpeg-turbo")


def _start_compiling() -> "subprocess.Popen[str]":
    options: dict[str, Any] = {"creationflags": 0x4000} if sys.platform == "win32" else {"start_new_session": True}
    return subprocess.Popen(  # the flag: BELOW_NORMAL_PRIORITY_CLASS; a session: Ctrl-C goes to this process only
        [sys.executable, "-P", "-m", "feedline.loaders.pixels.ready", "--ahead"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options,
    )  # fmt: skip


def _refuse_ignored(ctx: click.Context, settings: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that --index-only would ignore."""
    for parameter in ctx.command.params:
        if parameter.name in settings and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--index-only takes the shards as they are; leave {parameter.opts[0]} out")


def _splits_by_name(given: Sequence[str]) -> dict[str, str]:
    """Return {name: split} of the values NAME=SPLIT."""
    found: dict[str, str] = {}
    for value in given:
        name, equals, split = value.rpartition("=")
        if not equals or not name or split not in SPLITS or name in found:
            raise click.UsageError(
                f"--split-from {value!r} is not NAME=SPLIT with SPLIT one of {', '.join(SPLITS)}, once for each NAME"
            )
        found[name] = split
    return found


def _spec(**settings: Any) -> "ShardSpec":
    """Return the ShardSpec of the options that were given."""
    from ..prep import ShardSpec

    if settings["encode"] not in ("resize", "raw") and settings["short_side"]:
        raise click.UsageError("--short-side needs --encode resize or raw")
    if settings["encode"] != "resize" and settings["quality"]:
        raise click.UsageError("--quality needs --encode resize; the other encodings lose none")
    if settings["shard_size"] and settings["shard_count"]:
        raise click.UsageError("--shard-size and --shard-count exclude each other; give one of them")
    given: dict[str, Any] = {name: value for name, value in settings.items() if value not in (None, ())}
    return ShardSpec(**given)


def _report(place: "Path | Url", manifest: ShardManifest, as_json: bool) -> None:
    for split, held in manifest.splits.items():
        size = sum(entry.bytes for entry in held.shards)
        say(f"{split}: {held.samples} samples in {len(held.shards)} shards, {size / 1e6:.1f} MB in {place}")
    if manifest.made_sequential:
        say(f"made sequential, losslessly: {manifest.made_sequential} progressive JPEGs")
    if manifest.orientation_applied is not None:
        lossless, reencoded = (manifest.orientation_applied.get(change, 0) for change in ("lossless", "reencoded"))
        say(f"turned as their EXIF says: {lossless} images without loss")
        if reencoded:
            why = "made smaller, or without whole MCUs at the edge that moves"
            say(f"turned with loss: {reencoded} JPEGs were decoded and encoded again ({why})")
    for kind, count in manifest.passed_through.items():
        say(f"left unchanged: {count} {kind}")
    if as_json:
        echo_json(
            {
                "shards": str(place),
                "encode": manifest.encode,
                "passed_through": manifest.passed_through,
                "made_sequential": manifest.made_sequential,
                "orientation_applied": manifest.orientation_applied,
                "splits": {
                    split: {"samples": held.samples, "shards": [entry.name for entry in held.shards]}
                    for split, held in manifest.splits.items()
                },
            }
        )
