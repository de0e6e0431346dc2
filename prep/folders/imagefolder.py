"""From a user's own images to a root, labelled by their folders or by lists: ``feedline prep imagefolder``."""

from collections.abc import Mapping, Sequence

from ..base.errors import SourceError
from ..base.manifest import Manifest
from ..base.paths import GivenPath, all_reachable, reachable
from ..base.progress import Notice, Progress, quiet, silent
from ..labelled.imagefolder import recognise_imagefolder
from ..labelled.lists import ListOptions, listed_sources
from ..labelled.request import LabelledRequest
from .labelled import prepare_labelled

MAX_DEPTH = 32  # folders; deeper ones are refused when they are listed


def prepare_imagefolder(
    sources: GivenPath | Sequence[GivenPath],
    out: GivenPath,
    *,
    val_fraction: float | None = None,
    seed: int = 0,
    class_depth: int | None = None,
    split_from: Mapping[str, str] | None = None,
    labels: GivenPath | Sequence[GivenPath] = (),
    list_options: ListOptions | None = None,
    workers: int | None = None,
    progress: Progress = silent,
    notice: Notice = quiet,
) -> Manifest:
    """Write class folders and the manifest to ``out`` from folders, zips and tars of images.

    The class of an image is the first folder below its split, as torchvision's ImageFolder means it, or its first
    ``class_depth`` folders joined with "/". Splits are folders or sources called train, val or test, in the usual
    spellings; ``split_from`` is {name: split} for others. ``val_fraction`` makes a val of so large a part of each
    class, chosen by ``seed`` and the names alone. If ``out`` is the source, the images stay where they are, and only
    ``manifest.json`` and lists of the images (``<split>.jsonl``) are written there. An interrupted run continues.

    ``labels`` are lists of the images with their classes, in place of class folders: CSV with any delimiter, JSON
    lines, or an array of JSON objects. ``list_options`` says how they are read. A column named split divides the
    images. All other columns are kept in ``out/<split>.jsonl``.

    Raises SourceError for missing, damaged or doubtful sources, OutputError if ``out`` holds something else or has no
    room.
    """
    paths, place = all_reachable(sources), reachable(out)
    if class_depth is not None and class_depth < 1:
        raise SourceError(f"a class of {class_depth} folders is none; give 1 or more, or leave it out")
    if labels and class_depth is not None:
        raise SourceError("--labels says the classes, and --class-depth takes them from folders; give one of them")
    if labels:
        found = listed_sources(
            paths,
            all_reachable(labels),
            list_options,
            split_from=split_from,
            skip=place,
            progress=progress,
            notice=notice,
        )
    else:
        found = recognise_imagefolder(paths, place, split_from=split_from, class_depth=class_depth)
    request = LabelledRequest(command="prep imagefolder", val_fraction=val_fraction, seed=seed)
    return prepare_labelled(found, place, request, workers=workers, progress=progress, notice=notice)
