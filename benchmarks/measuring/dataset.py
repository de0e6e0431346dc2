"""The data of a measurement: which images they are, and the class of each.

Loaders are compared on equal data, which the manifest's checksum identifies, and in an equal state of the page cache,
which ``machine.cache`` makes.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...prep import MANIFEST, SHARDS, MeasurementError, read_manifest, read_shard_manifest
from ...prep.roots.kept_listings import open_listing
from ...prep.roots.places import shards_folder
from ..machine.storage import Storage, filesystem_of, storage_of


@dataclass(frozen=True, kw_only=True)
class MeasuredData:
    """The split that was loaded."""

    dataset: str
    samples: int
    bytes: int
    """Size of the split's images as files, or of its shards if there are no class folders."""
    manifest_sha256: str
    """Checksum of the manifest that describes the split. Equal checksums mean the same images."""
    filesystem: str | None
    storage: Storage | None = None
    """The device below the file system; None if unknown, and before schema 2."""


def describe(root: Path, split: str) -> MeasuredData:
    """Return the description of ``split`` of ``root``.

    Raises DatasetError for a directory that is no root, MeasurementError for a split without images.
    """
    if (root / MANIFEST).is_file():
        manifest = read_manifest(root)
        dataset = manifest.dataset
        sizes = {name: (part.images, part.bytes) for name, part in manifest.splits.items()}
        described_by, place = root / MANIFEST, root
    else:
        shards = read_shard_manifest(root / SHARDS)
        dataset = shards.dataset
        sizes = {
            name: (part.samples, sum(shard.bytes for shard in part.shards)) for name, part in shards.splits.items()
        }
        described_by, place = root / SHARDS / MANIFEST, shards_folder(root / SHARDS, shards)
    if sizes.get(split, (0, 0))[0] == 0:
        raise MeasurementError(f"{root} has no images in split {split!r}; choose one of: {', '.join(sizes) or 'none'}")
    samples, size = sizes[split]
    return MeasuredData(
        dataset=dataset,
        samples=samples,
        bytes=size,
        manifest_sha256=hashlib.sha256(described_by.read_bytes()).hexdigest(),
        filesystem=filesystem_of(place),
        storage=storage_of(place),
    )


def classes_of(root: Path, split: str) -> npt.NDArray[np.int64] | None:
    """Return int64 (samples,): the class index of each sample by the manifest; None for a root of only shards."""
    if not (root / MANIFEST).is_file():
        return None
    manifest = read_manifest(root)
    held = manifest.splits[split]
    if held.per_class and (held.listed or held.columns):  # in the order of the list, which need not be sorted by class
        return open_listing(root, manifest, split).labels
    return np.repeat(np.arange(len(held.per_class), dtype=np.int64), held.per_class) if held.per_class else None
