"""Until the fused decoder is compiled, images are decoded in another way to the same pixels."""

from contextlib import closing
from pathlib import Path

import pytest
import torch

from feedline.loaders import open_loader
from feedline.loaders.pixels import ready

from ...contract import spec_of


@pytest.mark.parametrize("transform", ["train", "eval"])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_before_and_after(
    transform: str, workers: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nothing depends on how long a compilation takes, nor on which images the decoder takes."""
    spec = spec_of(root, transform=transform, workers=workers)
    with closing(open_loader("threaded", spec)) as loader:
        loader.set_epoch(1)
        after = list(loader)
        monkeypatch.setattr(ready, "usable", lambda: False)
        loader.set_epoch(1)
        before = list(loader)
        assert len(before) == len(after) > 1
        for old, new in zip(before, after, strict=True):
            assert torch.equal(old.indexes, new.indexes) and torch.equal(old.images, new.images)


def test_a_compiled_decoder_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a loader starts no process once it is loaded."""
    monkeypatch.setattr("subprocess.Popen", None)
    ready.begin()

    assert ready.usable()
