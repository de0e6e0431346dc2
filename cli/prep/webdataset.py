"""``feedline prep webdataset``: a data set root that uses the shards of another tool where they lie."""

from pathlib import Path

import click

from ...prep.base.shell import shell_word
from ..console import echo_json, progress_bars, say
from ..options import LocalPath, json_option, threads_option
from .shared import OUT, SPLIT_FROM


@click.command()
@click.argument("sources", nargs=-1, required=True)
@OUT
@click.option(
    "--label-from",
    metavar="cls|json:KEY|txt|folder",
    help="Where the class of a sample stands: its .cls, a key of its .json such as json:label, its .txt, or the folder "
    "of its key.  [default: cls]",
)
@click.option("--image-extension", metavar="EXT", help="The image to take of samples with several, such as input.jpg.")
@SPLIT_FROM
@click.option(
    "--names-file",
    type=LocalPath(exists=True, dir_okay=False, path_type=Path),
    help="Class names: lines of class id, tab, name in UTF-8.",
)
@threads_option("Threads; each reads one shard at a time.")
@json_option
def webdataset(
    sources: tuple[str, ...],
    out: Path,
    label_from: str | None,
    image_extension: str | None,
    split_from: dict[str, str],
    names_file: Path | None,
    workers: int,
    as_json: bool,
) -> None:
    """Use WebDataset shards that another tool wrote, where they lie.

    \b
    Example:
      feedline prep webdataset wds --out data
      feedline prep webdataset "pets-{train,val}-{0000..0015}.tar" --out data
      feedline prep webdataset wds --out data --label-from json:label

    SOURCES are folders, tars, or patterns in quotes. Nothing is copied, and nothing is written next to the shards:
    OUT gets a manifest and an index of each shard. An interrupted run continues when the same command runs again.
    """
    from ...prep import SHARDS, prepare_webdataset

    with progress_bars() as progress:
        manifest = prepare_webdataset(
            sources,
            out,
            label_from=label_from,
            image_extension=image_extension,
            split_from=split_from,
            names_file=names_file,
            workers=workers,
            progress=progress,
            notice=say,
        )
    for name, split in manifest.splits.items():
        size = sum(shard.bytes for shard in split.shards) / 1e6
        without = "" if split.labelled else " without classes"
        say(f"{name}: {split.samples} samples{without} in {len(split.shards)} shards, {size:.1f} MB")
    say(f"{len(manifest.classes)} classes in {out / SHARDS}; next: feedline bench {shell_word(out)} --out bench")
    if as_json:
        echo_json(
            {
                "root": str(out),
                "dataset": manifest.dataset,
                "classes": len(manifest.classes),
                "splits": {
                    name: {"samples": split.samples, "shards": len(split.shards), "labelled": split.labelled}
                    for name, split in manifest.splits.items()
                },
            }
        )
