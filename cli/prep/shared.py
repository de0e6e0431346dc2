"""Options that the commands of ``feedline prep`` share, and what they print at the end."""

import sys
from pathlib import Path

import click

from ...prep.base.shell import shell_word
from ..console import echo_json, say
from ..options import LocalPath, threads_option

OUT = click.option("--out", type=LocalPath(path_type=Path), required=True, help="The data set root to write.")
THREADS = threads_option("Threads; each writes one class at a time.")


def _chosen_splits(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    chosen = {name: of for name, equals, of in (text.rpartition("=") for text in texts) if name and equals}
    if len(chosen) != len(texts):
        raise click.UsageError("--split-from needs NAME=SPLIT, each name once, such as: --split-from valid=val")
    return chosen


SPLIT_FROM = click.option(
    "--split-from",
    "split_from",
    multiple=True,
    metavar="NAME=SPLIT",
    callback=_chosen_splits,
    help="The split (train, val or test) of a folder or archive whose name does not say it; may be repeated.",
)
"""The value is {name: split}."""

VAL_FRACTION = click.option(
    "--val-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="F",
    help="Take this part of each class as val, chosen by --seed and the names; for sources without a val.",
)


def hint(out: Path) -> None:
    """Print what slows writing most on Windows: a virus scanner that opens each of a million new files."""
    if sys.platform == "win32":
        say(f"hint: if writing is slow, exclude {out.absolute()} from your antivirus, which opens each new file")


def report(out: Path, as_json: bool) -> None:
    """Print what the root ``out`` holds and the next command."""
    from ...prep import read_manifest

    manifest = read_manifest(out)
    for name, split in manifest.splits.items():
        place = f"{name}.jsonl" if split.listed else split.folder or name
        say(f"{out / place}: {split.images} images, {split.bytes / 1e6:.1f} MB")
    say(f"{len(manifest.classes)} classes; next: feedline shard {shell_word(out)}")
    if as_json:
        splits = {
            name: {"classes": sum(count > 0 for count in split.per_class), "images": split.images}
            for name, split in manifest.splits.items()
        }
        echo_json({"root": str(out), "dataset": manifest.dataset, "splits": splits})
