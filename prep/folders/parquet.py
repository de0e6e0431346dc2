"""From parquet files of images to class folders: the one function behind ``feedline prep parquet``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..base.manifest import Manifest
from ..base.paths import GivenPath, all_reachable, reachable
from ..base.progress import Notice, Progress, quiet, silent
from ..labelled.parquet import parquet_sources
from ..labelled.request import LabelledRequest
from ..sources.naming import NEUTRAL, split_named
from .labelled import prepare_labelled


def prepare_parquet(
    sources: GivenPath | Sequence[GivenPath],
    out: GivenPath,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    split_from: Mapping[str, str] | None = None,
    val_fraction: float | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = silent,
    notice: Notice = quiet,
) -> Manifest:
    """Write class folders and the manifest to ``out`` from parquet files, or folders of them, as Hugging Face has them.

    The class indexes are those of the label column if its classes have names in the file, or if it holds numbers. The
    other columns are kept in ``out/<split>.jsonl``. ``image_column`` and ``label_column`` choose among several.
    ``split_from`` is {name of a file or folder, or value of a split column: "train", "val" or "test"}.
    ``val_fraction`` of each class becomes val if the files have none, by ``seed``. A run that was interrupted
    continues; a finished root is returned as it is, or gets the splits it lacks.

    Raises SourceError for missing or damaged files, rows without image or label, and columns that are not clear;
    OutputError when ``out`` holds something else or has no room.
    """
    paths, out = all_reachable(sources), reachable(out)
    found = parquet_sources(
        paths,
        image_column=image_column,
        label_column=label_column,
        split_from=split_from,
        skip=out,
        progress=progress,
    )
    request = LabelledRequest(
        command="prep parquet",
        val_fraction=val_fraction,
        seed=seed,
        dataset=_dataset_name(paths[0]),
    )
    return prepare_labelled(found, out, request, workers=workers, progress=progress, notice=notice)


def _dataset_name(source: Path) -> str:
    """Return the name of the nearest folder that is not called "data" or as a split, or ""."""
    path = source.resolve()
    names = (path if path.is_dir() else path.parent, *path.parents[:2])
    plain = (folder.name for folder in names)
    return next((name for name in plain if name.lower() not in NEUTRAL and split_named(name) is None), "")
