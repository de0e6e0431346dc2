"""``feedline prep synthetic``: archives and folders for trials."""

from pathlib import Path

import click

from ..console import echo_json, progress_bars, say
from ..options import LocalPath, json_option, seed_option, threads_option


@click.command()
@click.argument("out", type=LocalPath(path_type=Path))
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
    from ...prep import SyntheticSpec, write_synthetic

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
