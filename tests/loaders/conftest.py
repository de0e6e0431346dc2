"""The loaders that the contract runs over."""

import pytest

from .contract import COVERING, DCT, GPU, require_loader


@pytest.fixture(params=[*COVERING, DCT, GPU])
def name(request: pytest.FixtureRequest) -> str:
    """Every installed loader whose epoch is each sample once."""
    return require_loader(request.param)
