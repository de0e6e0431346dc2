"""A small ImageNet for all tests: synthetic archives, class folders and shards, made once by the public API."""

import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from feedline.prep import SHARDS, ShardSpec, SyntheticSpec, prepare_imagenet, write_shards, write_synthetic

# A shell ignores Ctrl-C in what it starts in the background, and all children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("feedline", deadline=None)  # a first call compiles, and a busy machine is slow
settings.load_profile("feedline")

CLASSES = 4
IMAGES_PER_CLASS = 21  # 84 samples: no whole number of batches, ranks or shards in the tests


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of 4 classes, with the odd files that ImageNet has, at a quarter of its image size."""
    out = tmp_path_factory.mktemp("archives")
    spec = SyntheticSpec(
        layout="ilsvrc2012", classes=CLASSES, images_per_class=IMAGES_PER_CLASS, seed=1, scale=0.25, odd_files=True
    )
    write_synthetic(out, spec)
    return out


@pytest.fixture(scope="session")
def root(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared root with shards. Tests that change it copy it first."""
    root = tmp_path_factory.mktemp("root") / "data"
    prepare_imagenet([archives], root)
    write_shards(root, ShardSpec(seed=3))
    return root


@pytest.fixture
def folders(root: Path, tmp_path: Path) -> Path:
    """A copy of the prepared root without its shards, to be changed."""
    return Path(shutil.copytree(root, tmp_path / "data", ignore=shutil.ignore_patterns(SHARDS)))
