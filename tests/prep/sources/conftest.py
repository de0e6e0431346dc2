"""Small archives and the files of the root that they give, made once for all tests here."""

from pathlib import Path

import pytest

from feedline.prep import SyntheticSpec, prepare_imagenet, write_synthetic

from ..trees import Files, tree


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official archives, and Tiny-ImageNet's: 3 classes of 2 images."""
    out = tmp_path_factory.mktemp("archives")
    write_synthetic(out, SyntheticSpec(layout="ilsvrc2012", classes=3, images_per_class=2, scale=0.1))
    write_synthetic(out, SyntheticSpec(layout="tiny-imagenet", classes=3, images_per_class=2))
    return out


@pytest.fixture(scope="session")
def files(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """{path: bytes} of the root that the official archives give."""
    out = tmp_path_factory.mktemp("root") / "data"
    prepare_imagenet([archives / "ILSVRC2012_img_train.tar", archives / "ILSVRC2012_img_val.tar"], out)
    return tree(out)
