"""The loaders that the contract runs over."""

from collections.abc import Iterator

import pytest

from feedline.loaders import Loader
from feedline.loaders.pixels import ready

from .contract import COVERING, DCT, GPU, PLANAR, require_loader


@pytest.fixture(params=[*COVERING, DCT, GPU, PLANAR])
def name(request: pytest.FixtureRequest) -> str:
    """Every installed loader whose epoch is each sample once."""
    return require_loader(request.param)


@pytest.fixture(autouse=True, scope="session")
def compiled() -> None:
    """Let the fused decoder decode in all tests; on a new machine it would come into use in the midst of them."""
    ready.prepare()


@pytest.fixture
def opened() -> Iterator[list[Loader]]:
    """Loaders to be closed after the test."""
    loaders: list[Loader] = []
    yield loaders
    for loader in loaders:
        loader.close()
