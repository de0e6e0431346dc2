"""``feedline verify``: is everything there, and is it whole?"""

from pathlib import Path

import click

from .console import echo_json, json_option, progress_bars, say, workers_option

LISTED = 20  # problems and notes shown to people; --json has all


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--decode", is_flag=True, help="Also decode every image.")
@workers_option("Threads that read and check.")
@json_option
def verify(path: Path, decode: bool, workers: int, as_json: bool) -> None:
    """Check the prepared root or shard set at PATH against its manifest.

    \b
    feedline verify data
    feedline verify data/shards --decode
    """
    from ..prep import DatasetError, verify as check

    with progress_bars() as progress:
        found = check(path, decode=decode, workers=workers, progress=progress)
    for problem in found.problems[:LISTED]:
        say(f"problem: {problem}")
    if len(found.problems) > LISTED:
        say(f"... and {len(found.problems) - LISTED} more; see them with --json")
    for line in found.odd[:LISTED]:
        say(f"note: {line}")
    if len(found.odd) > LISTED:
        say(f"... and {len(found.odd) - LISTED} more notes; see them with --json")
    for split, held in found.splits.items():
        say(f"{split}: {held['classes']} classes, {held['images']} images")
    if as_json:
        echo_json({"ok": found.ok, "problems": list(found.problems), "splits": found.splits, "odd": list(found.odd)})
    if not found.ok:
        raise DatasetError(
            f"{path} is damaged ({len(found.problems)} problems); delete what is named above and prepare it again"
        )
    say(f"{path} is whole")
