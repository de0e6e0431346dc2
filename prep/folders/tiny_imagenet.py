"""From Tiny-ImageNet, zip or folder, to class folders: the one function behind ``feedline prep tiny-imagenet``.

Boxes and lists are kept as they are, under ``annotations/``.
"""

from pathlib import Path

from ..base.manifest import Manifest
from ..base.paths import GivenPath, reachable
from ..base.progress import Notice, Progress, quiet, silent
from ..labels.lists import read_names
from ..sources.naming import SPLITS
from ..sources.request import Request
from ..sources.tiny_imagenet import ANNOTATIONS, recognise_tiny
from .prepare import prepare


def prepare_tiny_imagenet(
    source: GivenPath,
    out: GivenPath,
    *,
    names_file: GivenPath | None = None,
    delete_source: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
    notice: Notice = quiet,
) -> Manifest:
    """Write class folders and the manifest to ``out`` from the zip or its folder. An interrupted run continues.

    Raises SourceError for a missing, damaged or foreign source, OutputError if ``out`` holds something else
    or has no room.
    """
    out = reachable(out)
    found = recognise_tiny(reachable(source), skip=out)
    request = Request(
        command="prep tiny-imagenet",
        splits=(*SPLITS, ANNOTATIONS),
        names={**found.names, **(read_names(Path(names_file)) if names_file else {})},
        delete_source=delete_source,
    )
    return prepare(found, out, request, workers=workers, progress=progress, notice=notice)
