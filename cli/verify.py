"""``feedline verify``: check that a root or a shard set is complete and undamaged."""

from pathlib import Path

import click

from ..prep.base.origins import origin_of, shown
from .console import echo_json, progress_bars, say
from .options import RootPath, cache_size_option, json_option, threads_option

LISTED = 20  # most problems, and most notes, on stderr; --json has all


@click.command()
@cache_size_option
@click.argument("path", type=RootPath(path_type=Path))
@click.option("--decode", is_flag=True, help="Also decode every image.")
@threads_option("Threads that read and check.")
@json_option
def verify(path: Path, decode: bool, workers: int, as_json: bool) -> None:
    """Check the prepared root, the shard set or the shard at PATH against its manifest.

    \b
    Example:
      feedline verify data
      feedline verify data/shards --decode
      feedline verify data/shards/imagenet-val-000000.tar

    PATH may be a URL such as s3://bucket/data; its shards are fetched one after the other.

    Compares every count, size and checksum with the manifest. The exit code is 1 if anything
    is missing or damaged.
    """
    from ..prep import SHARDS, DatasetError, verify as check

    with progress_bars() as progress:
        found = check(path, decode=decode, workers=workers, progress=progress)
    for problem in found.problems[:LISTED]:
        say(f"problem: {shown(problem)}")
    if len(found.problems) > LISTED:
        say(f"... and {len(found.problems) - LISTED} more problems; list all with --json")
    for notes in (found.odd, found.strangers):
        for line in notes[:LISTED]:
            say(f"note: {shown(line)}")
        if len(notes) > LISTED:
            say(f"... and {len(notes) - LISTED} more notes; list all with --json")
    for split, held in found.splits.items():
        kinds = ", ".join(f"{count} {kind}" for kind, count in found.formats[split].items())
        say(f"{split}: {held['classes']} classes, {held['images']} images{f' ({kinds})' if kinds else ''}")
        if found.rotated[split]:
            say(
                f"note: {split}: EXIF turns {found.rotated[split]} images, and training loaders ignore it; "
                f"to turn them: feedline shard ROOT --apply-orientation"
            )
    if as_json:
        echo_json(
            {
                "ok": found.ok,
                "problems": list(map(shown, found.problems)),
                "splits": found.splits,
                "odd": list(map(shown, found.odd)),
                "strangers": list(map(shown, found.strangers)),
                "formats": found.formats,
                "rotated": found.rotated,
            }
        )
    if not found.ok:
        if found.stale and len(found.problems) == 1:
            raise DatasetError(f"the shards of {path} are old; the problem above has the command that helps")
        remote = origin_of(path / SHARDS) is not None
        remedy = "upload it again" if remote else f"or move {path} away and make it again"
        raise DatasetError(f"{path} is damaged ({len(found.problems)} problems); repair what is named above, {remedy}")
    say(f"{shown(path)} is complete and undamaged")
