"""``feedline prep``: archives to class folders, and archives to try it with."""

import sys
from pathlib import Path

import click

from .console import echo_json, json_option, progress_bars, say, seed_option, workers_option

OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="The dataset root to write.")


@click.group()
def prep() -> None:
    """Turn archives into class folders, or make synthetic archives."""


@prep.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--layout", type=click.Choice(["ilsvrc2012", "tiny-imagenet"]), default="ilsvrc2012", show_default=True)
@click.option("--classes", type=int, default=10, show_default=True, help="Classes: up to 1000, or 200 for tiny.")
@click.option("--images-per-class", type=int, default=100, show_default=True, help="Training images per class.")
@click.option("--odd-files", is_flag=True, help="Mix in a PNG named .JPEG, CMYK, greyscale and broken EXIF.")
@seed_option
@workers_option("Threads that draw and encode.")
@json_option
def synthetic(
    out: Path,
    layout: str,
    classes: int,
    images_per_class: int,
    odd_files: bool,
    seed: int,
    workers: int,
    as_json: bool,
) -> None:
    """Write archives that look like the official ones into OUT.

    The images are crops of the photographs inside scikit-image and scikit-learn (extra "demo").

    \b
    feedline prep synthetic archives --classes 10 --images-per-class 100
    """
    from ..prep import SyntheticSpec, write_synthetic

    spec = SyntheticSpec(
        layout=layout,  # pyright: ignore[reportArgumentType] - click.Choice
        classes=classes,
        images_per_class=images_per_class,
        seed=seed,
        odd_files=odd_files,
    )
    with progress_bars() as progress:
        archives = write_synthetic(out, spec, progress=progress, workers=workers)
    for archive in archives:
        say(f"wrote {archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    if as_json:
        echo_json({"archives": [str(archive) for archive in archives]})


NAMES = click.option(
    "--names-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Names of classes in any language: wnid, tab, name in UTF-8.",
)
DELETE = click.option(
    "--delete-source", is_flag=True, help="Delete the archives, once every image made of them was decoded."
)


@prep.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@OUT
@click.option("--split", type=click.Choice(["train", "val", "test", "all"]), default="all", show_default=True)
@click.option(
    "--checksum",
    type=click.Choice(["size", "md5", "none"]),
    default="size",
    show_default=True,
    help="What to compare with the official release, where all 1000 classes are there.",
)
@click.option(
    "--classes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take only the classes whose wnids this file names.",
)
@NAMES
@DELETE
@workers_option("Threads; each writes one class at a time.")
@json_option
def imagenet(
    sources: tuple[Path, ...],
    out: Path,
    split: str,
    checksum: str,
    classes: Path | None,
    names_file: Path | None,
    delete_source: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Class folders from ImageNet as you have it: archives, pieces of them, trees, Kaggle's zip, parquet files.

    What SOURCES are is told by their content; several may be given, and folders that hold them.

    \b
    feedline prep imagenet ILSVRC2012_img_train.tar ILSVRC2012_img_val.tar --out data
    feedline prep imagenet imagenet-object-localization-challenge.zip --out data
    feedline prep imagenet downloads --classes imagenet100.txt --out data100
    """
    from ..prep import SPLITS, prepare_imagenet

    _hint(out)
    with progress_bars() as progress:
        prepare_imagenet(
            sources,
            out,
            splits=SPLITS if split == "all" else (split,),
            checksum=checksum,  # pyright: ignore[reportArgumentType] - click.Choice
            classes=classes,
            names_file=names_file,
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
@workers_option("Threads; each writes one class at a time.")
@json_option
def tiny_imagenet(
    source: Path, out: Path, names_file: Path | None, delete_source: bool, workers: int, as_json: bool
) -> None:
    """Class folders from tiny-imagenet-200.zip, or from the folder that it was unpacked to.

    \b
    feedline prep tiny-imagenet tiny-imagenet-200.zip --out tiny
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
    """Tell Windows users what slows writing most: a virus scanner that opens each of a million new files."""
    if sys.platform == "win32":
        say(f"hint: if writing is slow, have your antivirus leave {out.absolute()} out: it opens each new file")


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
