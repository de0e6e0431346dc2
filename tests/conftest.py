"""A small ImageNet for all tests: synthetic archives, class folders and shards, made once by the public API."""

import shutil
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from PIL import EpsImagePlugin

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


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that Pillow takes for Ghostscript; the returned file exists once it was started."""
    if sys.platform == "win32":
        pytest.skip("Ghostscript has other names there")
    program, started = tmp_path / "bin" / "gs", tmp_path / "ghostscript-was-started"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{started}'\ntest \"$1\" = --version\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow looks for it once
    return started
