"""A root for benches with fake runs, and the decoder, compiled before runs that have a time limit."""

from pathlib import Path

import pytest

from feedline.loaders.pixels import ready
from feedline.prep import ClassEntry, Manifest, Split, write_document


@pytest.fixture(autouse=True, scope="session")
def compiled() -> None:
    """Compile the fused decoder first: on a new machine it would take a minute of a run, or outlive it."""
    ready.prepare()


@pytest.fixture
def one_image(tmp_path: Path) -> Path:
    """Return a prepared root of one file, which is not an image."""
    folder = tmp_path / "data" / "train" / "n01440764"
    folder.mkdir(parents=True)
    (folder / "n01440764_1.JPEG").write_bytes(b"x" * 10)
    classes = (ClassEntry(id="n01440764", name="tench"),)
    split = Split(images=1, bytes=10, per_class=(1,))
    manifest = Manifest(dataset="imagenet", classes=classes, splits={"train": split}, sources=())
    write_document(tmp_path / "data" / "manifest.json", manifest)
    return tmp_path / "data"
