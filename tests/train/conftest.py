"""One thread for every test of training, and a small run for those that need a whole one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from feedline.train import TrainConfig, train

from .runs import CLASSES, PER_CLASS, SMALL, make_root


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute on one thread: on a busy machine, two that wait for each other take ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 6 classes of 8 photographs of 64 px for train, and as many for val."""
    return make_root(tmp_path_factory.mktemp("root"), CLASSES, PER_CLASS)


@pytest.fixture
def config(tiny_root: Path, tmp_path: Path) -> TrainConfig:
    """Return two epochs of three steps, small enough to take a second."""
    return TrainConfig(root=tiny_root, out=tmp_path / "run", **SMALL)


@pytest.fixture(scope="module")
def finished(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Return the settings of a finished run; read its files, do not change them."""
    config = TrainConfig(root=tiny_root, out=tmp_path_factory.mktemp("finished") / "run", **SMALL)
    train(config)
    return config
