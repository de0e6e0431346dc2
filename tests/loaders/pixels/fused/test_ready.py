"""Until the fused decoder is compiled, images are decoded in another way to the same pixels."""

from contextlib import closing
from pathlib import Path

import pytest
import torch

from feedline.loaders import open_loader
from feedline.loaders.pixels import ready
from feedline.loaders.support import encoded

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


@pytest.mark.parametrize("transform", ["train", "eval"])
@pytest.mark.parametrize("workers", [0, 2])
def test_class_folders_have_the_same_pixels_before_and_after(
    transform: str, workers: int, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole images too go to the compiled decoder once it is there; files that it does not take go the other way."""
    empty = next(folders.glob("train/*/*.JPEG"))
    empty.write_bytes(b"")
    spec = spec_of(folders, transform=transform, workers=workers, on_error="skip")
    with closing(open_loader("threaded", spec)) as loader:
        loader.set_epoch(1)
        after = list(loader)
        monkeypatch.setattr(ready, "usable", lambda: False)
        loader.set_epoch(1)
        before = list(loader)
        assert [str(empty) in reason for reason in loader.skipped.values()] == [True]
        assert len(before) == len(after) > 1
        for old, new in zip(before, after, strict=True):
            assert torch.equal(old.indexes, new.indexes) and torch.equal(old.images, new.images)


def test_files_larger_than_the_room_to_read_into(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer that a thread reads files into grows, and what it held before stays."""
    spec = spec_of(folders, shuffle=False)
    with closing(open_loader("threaded", spec)) as loader:
        wanted = list(loader)
    monkeypatch.setattr(encoded, "READ_ROOM", 1000)
    with closing(open_loader("threaded", spec)) as loader:
        for old, new in zip(wanted, loader, strict=True):
            assert torch.equal(old.images, new.images)


def test_a_compiled_decoder_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a loader starts no process once it is loaded."""
    monkeypatch.setattr("subprocess.Popen", None)
    ready.begin()

    assert ready.usable()
