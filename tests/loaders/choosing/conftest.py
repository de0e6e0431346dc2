"""The data set and the loaders that the choices are tried with."""

import shutil
from pathlib import Path

import pytest

from feedline.prep import ShardSpec, write_shards

from ..contract import COVERING, require_loader
from .choices import ANY_ORDER


@pytest.fixture(scope="package")
def root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same data set in six shards."""
    place = tmp_path_factory.mktemp("choosing") / "data"
    shutil.copytree(root, place, ignore=shutil.ignore_patterns("shards"))
    write_shards(place, ShardSpec(seed=3, shard_count=6))
    return place


@pytest.fixture(params=ANY_ORDER)
def in_any_order(request: pytest.FixtureRequest) -> str:
    """Every installed loader that can read samples in any order, and several times."""
    return require_loader(request.param)


@pytest.fixture(params=COVERING)
def name(request: pytest.FixtureRequest) -> str:
    """Every installed loader; another decoding chooses no other samples."""
    return require_loader(request.param)
