"""ImageNet's official archives, their class folders with shards, and those alone."""

from pathlib import Path

import pytest

from feedline.prep import SyntheticSpec, prepare_imagenet, write_shards, write_synthetic

from ...trees import Files, only, tree
from .shared import SPEC


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official archives: 3 classes of 4 images."""
    out = tmp_path_factory.mktemp("archives")
    write_synthetic(out, SyntheticSpec(layout="ilsvrc2012", classes=3, images_per_class=4, scale=0.1))
    return out


@pytest.fixture(scope="module")
def root(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The class folders, with shards."""
    out = tmp_path_factory.mktemp("root") / "data"
    prepare_imagenet([archives], out)
    write_shards(out, SPEC)
    return out


@pytest.fixture(scope="module")
def files(root: Path) -> Files:
    """{path: bytes} of the class folders alone."""
    return only(tree(root), "train/", "val/", "test/")
