"""``feedline prep``: class folders from archives, and synthetic archives for trials."""

import sys
from pathlib import Path

import click

from .console import echo_json, progress_bars, say
from .options import json_option, seed_option, threads_option

OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="The data set root to write.")
NAMES = click.option(
    "--names-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Class names in any language: lines of wnid, tab, name in UTF-8.",
)
DELETE = click.option(
    "--delete-source", is_flag=True, help="Delete the archives after every image made from them was decoded."
)
THREADS = threads_option("Threads; each writes one class at a time.")


@click.group()
def prep() -> None:
    """Turn archives into class folders, or make synthetic archives.

    \b
    Example:
      feedline prep imagenet ARCHIVES --out data
      feedline prep tiny-imagenet tiny-imagenet-200.zip --out tiny
      feedline prep synthetic archives
    """


@prep.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    type=click.Choice(["ilsvrc2012", "tiny-imagenet", "imagefolder"]),
    default="ilsvrc2012",
    show_default=True,
    help="Archives with the official names and numbering, or class folders as users have them.",
)
@click.option(
    "--classes",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="Number of classes: up to 1000, or 200 for tiny-imagenet.",
)
@click.option(
    "--images-per-class", type=int, default=100, show_default=True, metavar="N", help="Training images per class."
)
@click.option(
    "--formats",
    metavar="LIST",
    help="Formats of imagefolder, taken in turn: jpg,png,webp by default, bmp,gif,tiff,ppm.",
)
@click.option("--splits/--no-splits", help="Whether imagefolder has train and val above the class folders.")
@click.option(
    "--odd-files",
    is_flag=True,
    help="Mix in odd kinds: a PNG named .JPEG, CMYK, greyscale, broken EXIF; in imagefolder progressive JPEGs, EXIF "
    "orientation, palettes, 16 bits.",
)
@click.option(
    "--scale", type=float, default=1.0, show_default=True, help="Factor of width and height, for small trials."
)
@seed_option
@threads_option("Threads that draw and encode.")
@json_option
def synthetic(
    out: Path,
    layout: str,
    classes: int,
    images_per_class: int,
    formats: str | None,
    splits: bool,
    odd_files: bool,
    scale: float,
    seed: int,
    workers: int,
    as_json: bool,
) -> None:
    """Write archives that look like the official ones, or class folders, into OUT.

    \b
    Example:
      feedline prep synthetic photos --layout imagefolder --classes 3
      feedline prep synthetic archives --classes 10 --images-per-class 100

    The images are crops of the photographs inside scikit-image and scikit-learn (extra "demo").
    """
    from ..prep import SyntheticSpec, write_synthetic

    spec = SyntheticSpec(
        layout=layout,  # pyright: ignore[reportArgumentType] - click.Choice
        classes=classes,
        images_per_class=images_per_class,
        seed=seed,
        odd_files=odd_files,
        scale=scale,
        formats=tuple(name.strip() for name in formats.split(",")) if formats is not None else (),
        splits=splits,
    )
    with progress_bars() as progress:
        archives = write_synthetic(out, spec, progress=progress, workers=workers)
    for archive in archives:
        files = [path.stat() for path in archive.rglob("*") if path.is_file()] or [archive.stat()]
        say(f"wrote {archive} ({sum(file.st_size for file in files) / 1e6:.1f} MB)")
    if as_json:
        echo_json({"archives": [str(archive) for archive in archives]})


@prep.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
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
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Prepare only the classes whose wnids this file contains.",
)
@click.option(
    "--split-from",
    "split_from",
    multiple=True,
    metavar="NAME=SPLIT",
    help="The split (train, val or test) of a folder or archive whose name does not say it; may be repeated.",
)
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
    split_from: tuple[str, ...],
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
    from ..prep import SPLITS, prepare_imagenet

    chosen = {name: of for name, equals, of in (text.rpartition("=") for text in split_from) if name and equals}
    if len(chosen) != len(split_from):
        raise click.UsageError("--split-from needs NAME=SPLIT, each name once, such as: --split-from valid=val")
    _hint(out)
    with progress_bars() as progress:
        prepare_imagenet(
            sources,
            out,
            splits=SPLITS if split == "all" else (split,),
            checksum=checksum,  # pyright: ignore[reportArgumentType] - click.Choice
            classes=classes,
            names_file=names_file,
            split_from=chosen,
            delete_source=delete_source,
            workers=workers,
            progress=progress,
            notice=say,
        )
    _report(out, as_json)


@prep.command("tiny-imagenet")
@click.argument("source", type=click.Path(path_type=Path))
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
    from ..prep import prepare_tiny_imagenet

    _hint(out)
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
    _report(out, as_json)


def _hint(out: Path) -> None:
    """Print what slows writing most on Windows: a virus scanner that opens each of a million new files."""
    if sys.platform == "win32":
        say(f"hint: if writing is slow, exclude {out.absolute()} from your antivirus, which opens each new file")


def _report(out: Path, as_json: bool) -> None:
    from ..prep import read_manifest

    manifest = read_manifest(out)
    for name, split in manifest.splits.items():
        say(f"{out / name}: {split.images} images, {split.bytes / 1e6:.1f} MB")
    say(f"{len(manifest.classes)} classes; next: feedline shard {out}")
    if as_json:
        splits = {
            name: {"classes": sum(count > 0 for count in split.per_class), "images": split.images}
            for name, split in manifest.splits.items()
        }
        echo_json({"root": str(out), "dataset": manifest.dataset, "splits": splits})
