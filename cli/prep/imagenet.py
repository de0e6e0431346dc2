"""``feedline prep imagenet`` and ``feedline prep tiny-imagenet``: class folders from the data sets' own archives."""

from pathlib import Path

import click

from ..console import progress_bars, say
from ..options import LocalPath, json_option
from .shared import OUT, SPLIT_FROM, THREADS, hint, report

NAMES = click.option(
    "--names-file",
    type=LocalPath(exists=True, dir_okay=False, path_type=Path),
    help="Class names in any language: lines of wnid, tab, name in UTF-8.",
)
DELETE = click.option(
    "--delete-source", is_flag=True, help="Delete the archives after every image made from them was decoded."
)


@click.command()
@click.argument("sources", nargs=-1, required=True, type=LocalPath(path_type=Path))
@OUT
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="all",
    show_default=True,
    help="Split to prepare; a later run adds another one to the same root.",
)
@click.option(
    "--checksum",
    type=click.Choice(["size", "md5", "none"]),
    default="size",
    show_default=True,
    help="Compare this with the official release if all 1000 classes are present: sizes and counts, also the md5, or "
    "nothing.",
)
@click.option(
    "--classes",
    type=LocalPath(exists=True, dir_okay=False, path_type=Path),
    help="Prepare only the classes whose wnids this file contains.",
)
@SPLIT_FROM
@NAMES
@DELETE
@THREADS
@json_option
def imagenet(
    sources: tuple[Path, ...],
    out: Path,
    split: str,
    checksum: str,
    classes: Path | None,
    split_from: dict[str, str],
    names_file: Path | None,
    delete_source: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Write class folders from ImageNet archives or folders.

    \b
    Example:
      feedline prep imagenet downloads --out data
      feedline prep imagenet ILSVRC2012_img_train.tar --out data
      feedline prep imagenet imagenet-object-localization-challenge.zip --out data
      feedline prep imagenet downloads --classes imagenet100.txt --out data100

    SOURCES are the official archives, parts of them, unpacked folders, Kaggle's zip, parquet files, or folders that
    hold any of these. Their content decides how they are read, not their names. An interrupted run continues when
    the same command runs again.
    """
    from ...prep import SPLITS, prepare_imagenet

    hint(out)
    with progress_bars() as progress:
        prepare_imagenet(
            sources,
            out,
            splits=SPLITS if split == "all" else (split,),
            checksum=checksum,  # pyright: ignore[reportArgumentType] - click.Choice
            classes=classes,
            names_file=names_file,
            split_from=split_from,
            delete_source=delete_source,
            workers=workers,
            progress=progress,
            notice=say,
        )
    report(out, as_json)


@click.command("tiny-imagenet")
@click.argument("source", type=LocalPath(path_type=Path))
@OUT
@NAMES
@DELETE
@THREADS
@json_option
def tiny_imagenet(
    source: Path, out: Path, names_file: Path | None, delete_source: bool, workers: int, as_json: bool
) -> None:
    """Write class folders from Tiny-ImageNet.

    \b
    Example:
      feedline prep tiny-imagenet tiny-imagenet-200.zip --out tiny

    SOURCE is tiny-imagenet-200.zip, or the folder that it was unpacked to.
    """
    from ...prep import prepare_tiny_imagenet

    hint(out)
    with progress_bars() as progress:
        prepare_tiny_imagenet(
            source,
            out,
            names_file=names_file,
            delete_source=delete_source,
            workers=workers,
            progress=progress,
            notice=say,
        )
    report(out, as_json)
