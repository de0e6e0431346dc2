"""``feedline prep parquet``: a data set root from parquet files of images."""

from pathlib import Path

import click

from ..console import progress_bars, say
from ..options import LocalPath, json_option, seed_option
from .shared import OUT, SPLIT_FROM, THREADS, VAL_FRACTION, hint, report


@click.command()
@click.argument("sources", nargs=-1, required=True, type=LocalPath(path_type=Path))
@OUT
@click.option("--image-column", metavar="C", help="The column of the images, if there are several.")
@click.option("--label-column", metavar="C", help="The column of the classes, if there are several.")
@VAL_FRACTION
@seed_option
@SPLIT_FROM
@THREADS
@json_option
def parquet(
    sources: tuple[Path, ...],
    out: Path,
    image_column: str | None,
    label_column: str | None,
    val_fraction: float | None,
    seed: int,
    split_from: dict[str, str],
    workers: int,
    as_json: bool,
) -> None:
    """Make a data set of parquet files, as Hugging Face's image data sets are stored.

    \b
    Example:
      feedline prep parquet food101/data --out data
      feedline prep parquet cifar100 --out data --label-column fine_label

    SOURCES are files, or folders that hold them; their names say the split. Columns
    besides the image and its class are kept. An interrupted run continues when the
    same command runs again.
    """
    from ...prep import prepare_parquet

    hint(out)
    with progress_bars() as progress:
        prepare_parquet(
            sources,
            out,
            image_column=image_column,
            label_column=label_column,
            val_fraction=val_fraction,
            seed=seed,
            split_from=split_from,
            workers=workers,
            progress=progress,
            notice=say,
        )
    report(out, as_json)
