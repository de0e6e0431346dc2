"""torchdata's loaders with a state around a loader's batches: they go on with the very next batch."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline.loaders import Loader, LoaderSpec, open_loader
from feedline.loaders.adapters.torch import IterableBatches

pytest.importorskip("torchdata")

pytestmark = pytest.mark.filterwarnings(
    "ignore:'set_vital' is deprecated",
    "ignore:Length of IterableDataset",  # torch's count goes on after a state that was saved at the end of an epoch
    "ignore::DeprecationWarning",
)


@pytest.fixture(params=["StatefulDataLoader", "nodes"])
def stateful(request: pytest.FixtureRequest, root: Path, opened: list[Loader]) -> Any:
    """Makes torchdata's two loaders with a state."""
    from torchdata import nodes
    from torchdata.stateful_dataloader import StatefulDataLoader

    def makes() -> Any:
        opened.append(open_loader("threaded", LoaderSpec.train(root, batch_size=10, image_size=16)))
        batches = IterableBatches(opened[-1])
        if request.param == "nodes":
            return nodes.Loader(nodes.IterableWrapper(batches))
        return StatefulDataLoader(batches, batch_size=None)

    return makes


@pytest.mark.parametrize("taken", [0, 3, 7, 8])
def test_a_state_goes_on_with_the_very_next_batch(taken: int, stateful: Any) -> None:
    """In the first epoch and in the second, of 8 batches each; also after the last batch."""
    whole = stateful()
    epochs = [[images for images, _ in whole] for _ in range(3)]
    assert not any(torch.equal(*pair) for pair in zip(*epochs[:2], strict=True))
    for epoch in range(2):
        saved = stateful()
        for _ in range(epoch):
            list(saved)
        assert len(list(itertools.islice(saved, taken))) == taken
        resumed = stateful()
        resumed.load_state_dict(saved.state_dict())
        found = [images for images, _ in resumed]
        wanted = epochs[epoch][taken:] or (found and epochs[epoch + 1])  # it may end the epoch first, without a batch
        assert len(found) == len(wanted) and all(map(torch.equal, found, wanted))
