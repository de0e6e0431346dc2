"""Comparison of the shards in a root with the class folders that they were made of.

Shards do not follow their root: after ``feedline prep`` has added classes or images, the shards hold the old ones, and
a class index means another class in each of the two. So their manifests are compared whenever shards are opened.
Shards of other tools lie elsewhere and can be moved or written again, so they are compared with their manifest.
"""

from pathlib import Path

from ..base.documents import read_document
from ..base.errors import LoaderError
from ..base.manifest import (
    MANIFEST,
    SHARDS,
    Manifest,
    ShardManifest,
    read_manifest,
    read_shard_manifest,
)
from ..base.shell import shell_word
from ..roots.places import moved_shards


def stale_shards(root: Path, shards: ShardManifest | None = None) -> str | None:
    """Return why the shards in ``root`` cannot be used as they are, with the next command; None if they can.

    Shards that lie elsewhere must be as they were when they were prepared, and all must match the class folders, if
    ``root`` has any. ``shards`` is the manifest of ``ROOT/shards``, read if it is None. Raises DatasetError for a
    manifest that cannot be read.
    """
    place = root / SHARDS
    if shards is None:
        if not (place / MANIFEST).is_file():
            return None
        shards = read_document(place / MANIFEST, ShardManifest)
    if problem := moved_shards(place, shards):
        return problem
    if not (root / MANIFEST).is_file():
        return None
    found = difference(shards, read_manifest(root))
    if found is None:
        return None
    return (
        f"{place} was made of other data than {root} has now: {found}; "
        f"move {place} away, then write the shards again: feedline shard {shell_word(root)}"
    )


def current_shards(root: Path) -> ShardManifest:
    """Return the manifest of ``ROOT/shards`` for a loader.

    Raises LoaderError if the shards do not match the class folders in ``root``, DatasetError if they are missing or
    unfinished.
    """
    shards = read_shard_manifest(root / SHARDS)
    if problem := stale_shards(root, shards):
        raise LoaderError(problem)
    return shards


def require_labels(root: Path, shards: ShardManifest, split: str) -> None:
    """Raise LoaderError for a split whose samples have no classes."""
    if not shards.splits[split].labelled:
        labelled = ", ".join(name for name, held in shards.splits.items() if held.labelled)
        raise LoaderError(f"the samples of {split} in {root} have no classes; choose another split: {labelled}")


def difference(shards: ShardManifest, root: Manifest) -> str | None:
    """Return the first difference between shards and class folders in classes, counts and bytes, or None.

    Splits that only one of them has are not compared. Classes that are only numbered, as in the shards of other
    tools, are compared by their number.
    """
    theirs, ours = [entry.id for entry in shards.classes], [entry.id for entry in root.classes]
    numbered = all(wnid.isdigit() for wnid in theirs)
    if theirs != ours and (len(theirs) > len(ours) if numbered else True):
        if len(theirs) != len(ours):
            return f"the shards have {len(theirs)} classes and the class folders {len(ours)}"
        first = next(label for label, pair in enumerate(zip(theirs, ours, strict=True)) if pair[0] != pair[1])
        return f"class {first} is {theirs[first]} in the shards and {ours[first]} in the class folders"
    for split, held in shards.splits.items():
        expected = root.splits.get(split)
        if expected is None or not expected.per_class:
            continue
        if held.samples != expected.images:
            return f"{split} has {held.samples} samples in the shards and {expected.images} images in the class folders"
        padded = held.per_class + (0,) * (len(ours) - len(held.per_class))
        for wnid, samples, images in zip(ours, padded, expected.per_class, strict=True) if held.per_class else ():
            if samples != images:
                return f"{split} has {samples} samples of {wnid} in the shards and {images} images in the class folders"
        if held.source_bytes is not None and held.source_bytes != expected.bytes:
            return f"the shards of {split} were made of {held.source_bytes} bytes and its images have {expected.bytes}"
    return None
