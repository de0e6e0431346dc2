"""A smaller ImageNet than the one of all tests, because most tests here prepare it anew."""

from pathlib import Path

import numpy as np
import pytest

from feedline.prep import SyntheticSpec, prepare_imagenet, write_synthetic
from feedline.prep.synthetic.photographs import VARY_DRAWS, encode, vary


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official archives: 3 classes of 4 images."""
    out = tmp_path_factory.mktemp("archives")
    write_synthetic(out, SyntheticSpec(layout="ilsvrc2012", classes=3, images_per_class=4, scale=0.1))
    return out


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Tiny-ImageNet archive: 3 classes of 4 images."""
    out = tmp_path_factory.mktemp("tiny")
    write_synthetic(out, SyntheticSpec(layout="tiny-imagenet", classes=3, images_per_class=4))
    return out / "tiny-imagenet-200.zip"


@pytest.fixture(scope="session")
def root(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the official archives give: the tree that every other layout must give as well."""
    out = tmp_path_factory.mktemp("root") / "data"
    prepare_imagenet([archives], out)
    return out


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """An image for archives that are made by hand."""
    return encode(vary(0, (40, 30), 2.0, np.full(VARY_DRAWS, 0.5)), "jpeg", 90)
