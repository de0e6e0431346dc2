"""Sources behind a URL: a prepared root, or shards with their manifest. Images are read where they lie."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ...base.errors import DatasetError, SourceError
from ...base.manifest import MANIFEST, SHARDS, Manifest, ShardManifest, read_manifest, read_shard_manifest
from ...roots.lists import list_path
from ...roots.samples import Sample, SampleSet, is_listed, samples_of_root, split_folder
from ...store.afar import FarFolder
from ..columns import columns_path
from ..index import index_path
from ..sidecars import dali_path
from .resharding import samples_of_shards, shards_in
from .shard import ShardTask


def open_far(far: FarFolder, splits: Sequence[str] | None) -> SampleSet:
    """Return the samples of a root or of shards behind a URL; by default of all labelled splits.

    Raises SourceError for another source, StoreError for what cannot be read, and DatasetError as for a local one.
    """
    place = _fetch_manifest(far)
    if place is not None:
        _fetch_indexes(far, place, read_shard_manifest(place), splits)
        return samples_of_shards(place, splits)
    manifest = read_manifest(far.folder)
    for split in splits or _labelled(manifest):
        if is_listed(far.folder, manifest, split):
            far.fetch(list_path(far.folder, split))
    if far.url.is_web:
        raise SourceError(
            f"{far.url} has class folders behind a web server, which does not list their files; "
            f"give the URL of shards, or that of the store itself, such as s3://bucket/data"
        )
    far.list(_folders(far, manifest, splits or _labelled(manifest)))
    return samples_of_root(far.folder, manifest, splits)


def _fetch_manifest(far: FarFolder) -> Path | None:
    """Fetch the manifest, and return the folder of the shards, or None for a root with class folders."""
    for folder in (far.folder, far.folder / SHARDS):
        if far.fetch_if_there(folder / MANIFEST):
            return shards_in(far.folder)
    raise SourceError(
        f"{far.url} has neither {MANIFEST} nor {SHARDS}/{MANIFEST}, and behind a URL only prepared roots and shards "
        f"are read; check the URL, or prepare the data first and upload the root: feedline prep"
    )


def _labelled(manifest: Manifest) -> list[str]:
    return [name for name, split in manifest.splits.items() if split.per_class]


def _folders(far: FarFolder, manifest: Manifest, splits: Iterable[str]) -> Iterator[str]:
    """Yield the folders whose files are the images of these splits."""
    for split in splits:
        held = manifest.splits[split]
        yield "" if held.listed else far.name(split_folder(far.folder, split, held))


def _fetch_indexes(far: FarFolder, place: Path, manifest: ShardManifest, splits: Sequence[str] | None) -> None:
    if manifest.place is not None:
        raise DatasetError(
            f"{far.url} lists shards that lie elsewhere ({manifest.place}), which a URL does not lead to; upload the "
            f"folder of the shards, with indexes made there: feedline shard --index-only FOLDER"
        )
    chosen = [held for split, held in manifest.splits.items() if splits is None or split in splits]
    paths: list[Path] = []
    for held in chosen:
        for shard in held.shards:
            path = place / shard.name
            paths += [index_path(path), dali_path(path), *([columns_path(path)] if held.columns else [])]
    far.fetch_all(paths)


def moved(task: ShardTask, above: Path, folder: Path) -> ShardTask:
    """Return a task whose samples are located in ``folder``, and were in ``above``, the folder of another machine."""
    return replace(task, samples=[_moved(sample, above, folder) for sample in task.samples])


def _moved(sample: Sample, above: Path, folder: Path) -> Sample:
    location, line = sample.location, sample.line
    return replace(
        sample,
        location=location._replace(place=folder / location.place.relative_to(above)),
        line=None if line is None else line._replace(place=folder / line.place.relative_to(above)),
    )
