"""``feedline prep imagefolder``: a data set root from the user's own images."""

from pathlib import Path

import click

from ..console import progress_bars, say
from ..options import LocalPath, json_option, seed_option
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
@click.argument("sources", nargs=-1, required=True, type=LocalPath(path_type=Path))
@OUT
@VAL_FRACTION
@seed_option
@click.option(
    "--class-depth",
    callback=_depth,
    metavar="N|path",
    help="Folders that make a class: the first N, or all of the path. The default is the first.",
)
@click.option(
    "--labels",
    multiple=True,
    type=LocalPath(path_type=Path),
    metavar="FILE",
    help="A list of the images with their classes: CSV, TSV, JSON lines or a JSON array; may be repeated.",
)
@click.option("--file-column", metavar="C", help="The column of a list that names the image.")
@click.option("--label-column", metavar="C", help="The column of a list that names the class.")
@click.option("--delimiter", metavar="D", help="Between the values of a list: a character, comma, tab, pipe or space.")
@click.option("--encoding", metavar="NAME", help="The encoding of a list that is not UTF-8, such as cp1252.")
@click.option("--skip-missing", is_flag=True, help="Leave out the rows of a list whose image is missing.")
@SPLIT_FROM
@THREADS
@json_option
def imagefolder(
    sources: tuple[Path, ...],
    out: Path,
    val_fraction: float | None,
    seed: int,
    class_depth: int | None,
    labels: tuple[Path, ...],
    file_column: str | None,
    label_column: str | None,
    delimiter: str | None,
    encoding: str | None,
    skip_missing: bool,
    split_from: dict[str, str],
    workers: int,
    as_json: bool,
) -> None:
    """Make a data set of your own images: a folder, zip or tar, with class folders or a list.

    \b
    Example:
      feedline prep imagefolder photos --out data --val-fraction 0.1
      feedline prep imagefolder photos --out photos          copies nothing
      feedline prep imagefolder train.zip val.zip --out data
      feedline prep imagefolder animals --out data --class-depth path
      feedline prep imagefolder images --out data --labels labels.csv

    A class is the first folder below train, val or test, or below SOURCE if there are no splits. With --labels a list
    says the classes, and its other columns are kept. An interrupted run continues when the same command runs again.
    """
    from ...prep import ListOptions, prepare_imagefolder

    hint(out)
    with progress_bars() as progress:
        prepare_imagefolder(
            sources,
            out,
            val_fraction=val_fraction,
            seed=seed,
            class_depth=class_depth,
            split_from=split_from,
            labels=labels,
            list_options=ListOptions(
                file_column=file_column,
                label_column=label_column,
                delimiter=delimiter,
                encoding=encoding,
                skip_missing=skip_missing,
            ),
            workers=workers,
            progress=progress,
            notice=say,
        )
    report(out, as_json)
