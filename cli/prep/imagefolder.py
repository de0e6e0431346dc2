"""``feedline prep imagefolder``: a data set root from the user's own images."""

from pathlib import Path

import click

from ..console import progress_bars, say
from ..options import json_option, seed_option
from .shared import OUT, SPLIT_FROM, THREADS, VAL_FRACTION, hint, report

ALL_FOLDERS = "path"
DEEPEST = 1000


def _depth(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    if text == ALL_FOLDERS:
        return DEEPEST
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= DEEPEST):
        raise click.BadParameter(f"{text!r} is no number of folders; give 1, 2, ... or {ALL_FOLDERS!r}")
    return int(text)


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@OUT
@VAL_FRACTION
@seed_option
@click.option(
    "--class-depth",
    callback=_depth,
    metavar="N|path",
    help="Folders that make a class: the first N, or all of the path. The default is the first.",
)
@SPLIT_FROM
@THREADS
@json_option
def imagefolder(
    sources: tuple[Path, ...],
    out: Path,
    val_fraction: float | None,
    seed: int,
    class_depth: int | None,
    split_from: dict[str, str],
    workers: int,
    as_json: bool,
) -> None:
    """Make a data set of your own images: a folder, zip or tar of class folders.

    \b
    Example:
      feedline prep imagefolder photos --out data --val-fraction 0.1
      feedline prep imagefolder photos --out photos --val-fraction 0.1     copies nothing
      feedline prep imagefolder train.zip val.zip --out data
      feedline prep imagefolder animals --out data --class-depth path

    A class is the first folder below train, val or test, or below SOURCE if there are no splits. An interrupted run
    continues when the same command runs again.
    """
    from ...prep import prepare_imagefolder

    hint(out)
    with progress_bars() as progress:
        prepare_imagefolder(
            sources,
            out,
            val_fraction=val_fraction,
            seed=seed,
            class_depth=class_depth,
            split_from=split_from,
            workers=workers,
            progress=progress,
            notice=say,
        )
    report(out, as_json)
