"""Measurements of a split whose images a list names, in an order that is not that of the classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feedline.benchmarks.measuring.dataset import classes_of
from feedline.benchmarks.peers.adapters.torchvision_peer import open_peer
from feedline.benchmarks.peers.conversions import images_of
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import list_samples, read_manifest, write_document
from feedline.prep.roots.lists import ListedImage, list_path, write_list

# Some of the odd files have broken EXIF, of which Pillow warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*(EXIF|[Tt]ag):UserWarning")


def reversed_list(root: Path) -> Path:
    manifest = read_manifest(root)
    samples = list_samples(root, manifest, "train")
    (root / "train").rename(root / "photos")
    images = [
        ListedImage(f"photos/{sample.path.parent.name}/{sample.name}", manifest.classes[sample.label].id)
        for sample in reversed(samples)
    ]
    write_list(list_path(root, "train"), images)
    splits = {**manifest.splits, "train": replace(manifest.splits["train"], listed=True)}
    write_document(root / "manifest.json", replace(manifest, splits=splits))
    return root


def test_classes_are_those_of_the_list(folders: Path) -> None:
    """By sample index, for feedline's loaders and for torchvision's ImageFolder as a peer."""
    root = reversed_list(folders)
    expected = classes_of(root, "train")
    assert expected is not None and expected[0] == 3 and expected[-1] == 0
    spec = LoaderSpec(root=root, batch_size=21, image_size=32)
    loader = open_loader("threaded", spec)
    try:
        for batch in loader:
            assert np.array_equal(expected[batch.indexes.numpy()], batch.labels.numpy())
    finally:
        loader.close()
    epochs = open_peer(spec, images_of(root, "train"), Path())
    seen: list[int] = []
    for batch in epochs:
        indexes = np.asarray(batch.indexes)
        assert np.array_equal(expected[indexes], np.asarray(batch.labels))
        seen += indexes.tolist()
    assert sorted(seen) == list(range(84))
