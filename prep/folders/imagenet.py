"""From any ImageNet source to class folders: the one function behind ``feedline prep imagenet``.

The official archives, their pieces and re-packed forms, and the smaller data sets cut from them, differ only in
where an image lies and what names it. ``sources`` resolves that; the steps after it are the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..base.manifest import Manifest
from ..base.paths import GivenPath, all_reachable, reachable
from ..base.progress import Notice, Progress, quiet, silent
from ..labels.lists import read_classes, read_names
from ..sources.naming import SPLITS
from ..sources.recognise import recognise
from ..sources.request import Checksum, Request
from .prepare import prepare


def prepare_imagenet(
    sources: GivenPath | Sequence[GivenPath],
    out: GivenPath,
    *,
    splits: Sequence[str] = SPLITS,
    checksum: Checksum = "size",
    classes: GivenPath | None = None,
    names_file: GivenPath | None = None,
    split_from: Mapping[str, str] | None = None,
    delete_source: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
    notice: Notice = quiet,
) -> Manifest:
    """Write class folders and the manifest to ``out`` from archives and folders in any of the known layouts.

    ``splits`` narrows what is taken from the sources, ``classes`` (a file that names wnids) the classes.
    ``checksum`` says what is compared with the official release if all classes are there: "size" the counts
    and sizes, "md5" the md5 as well, "none" nothing. ``names_file`` (wnid, tab, name) names classes in another
    language. ``split_from`` is {name of a folder or an archive: "train", "val" or "test"} for names that do not say
    their split. ``delete_source`` deletes the archives once every image was decoded from ``out``. What was recognised
    is reported to ``notice``. A run that was interrupted continues; a finished root is returned as it is, or gets
    the splits it lacks; class folders whose own folder is ``out`` only get a manifest.

    Raises SourceError for missing, damaged, foreign or contradicting sources, OutputError when ``out`` holds
    something else or has no room.
    """
    out = reachable(out)
    found = recognise(all_reachable(sources), skip=out, split_from=split_from, count=delete_source)
    request = Request(
        command="prep imagenet",
        splits=tuple(splits),
        checksum=checksum,
        classes=read_classes(Path(classes)) if classes else None,
        names=read_names(Path(names_file)) if names_file else {},
        split_from=split_from or {},
        delete_source=delete_source,
    )
    return prepare(found, out, request, workers=workers, progress=progress, notice=notice)
