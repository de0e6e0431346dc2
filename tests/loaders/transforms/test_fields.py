"""Which transforms a spec and a loader refuse, and what the errors of a transform say."""

import multiprocessing
import pickle
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms import v2

from feedline.loaders import Loader, LoaderSpec, Normalise, open_loader, open_stages
from feedline.prep import LoaderError, TransformError

from ..contract import GPU, open_named, spec_of


@pytest.mark.parametrize("field", ["sample_transform", "batch_transform"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("RandAugment", "must be a callable, got 'RandAugment'"),
        (v2.RandAugment, r"must be a callable, got the class RandAugment; write RandAugment\(\.\.\.\)"),
        ([v2.RandAugment()], "must be one callable, got 1; join them by v2.Compose"),
    ],
)
def test_what_cannot_be_called_is_refused(field: str, value: Any, message: str, root: Path) -> None:
    """When the spec is made."""
    with pytest.raises(LoaderError, match=f"{field} {message}"):
        spec_of(root, **{field: value})


def test_loaders_that_cannot_say_so_when_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DALI has its images on the GPU, or needs them all in one size."""
    with pytest.raises(LoaderError, match="dali cannot do image_size=None; choose one of: imagefolder, webdataset"):
        open_loader("dali", spec_of(root, image_size=None))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(LoaderError, match="dali cannot do sample_transform with device 'cuda'; choose one of"):
        open_loader("dali", spec_of(root, device="cuda", sample_transform=v2.RandAugment()))
    with pytest.raises(LoaderError, match="decode 'gpu' leaves no image on the CPU for sample_transform"):
        spec_of(root, decode="gpu", device="cuda", sample_transform=v2.RandAugment())
    with pytest.raises(LoaderError, match="timed without sample_transform"):
        open_stages("threaded", spec_of(root, sample_transform=v2.RandAugment()))


class BadImageError(Exception):
    """An error of a user's code, which is not an error of feedline."""


def fail_on_fifth(image: torch.Tensor) -> torch.Tensor:
    """Fail on about one sample of ten."""
    if torch.rand(()) < 0.1:
        raise BadImageError("no face found")
    return image


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_an_error_in_a_sample_transform_names_the_sample(
    name: str, workers: int, on_error: str, root: Path, opened: list[Loader]
) -> None:
    """It is never skipped, and the traceback of the user's code is shown."""
    if name == GPU:
        pytest.skip("refused")
    spec = spec_of(root, workers=workers, on_error=on_error, sample_transform=fail_on_fifth)
    opened.append(open_named(name, spec))
    with pytest.raises(TransformError, match=r"sample_transform failed on .*: BadImageError: no face found") as caught:
        list(opened[0])

    shown = "".join(traceback.format_exception(caught.value))
    assert "in fail_on_fifth" in shown
    assert re.search(r"failed on \S*\d+", str(caught.value))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_batch_transform_comes_at_its_batch(
    name: str, workers: int, root: Path, opened: list[Loader]
) -> None:
    """The batches before it are yielded, and a state saved there resumes at the batch that failed."""
    calls: list[int] = []

    def fail_on_fourth(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(len(labels))
        if len(calls) == 4:
            raise BadImageError("no face found")
        return images, labels

    opened.append(open_named(name, spec_of(root, workers=workers, batch_transform=fail_on_fourth)))
    batches = iter(opened[0])
    for _ in range(3):
        next(batches)
    state = opened[0].state_dict()
    with pytest.raises(TransformError, match=r"batch_transform failed on the batch that begins with .*: BadImageError"):
        next(batches)
    assert state["samples"] == 30
    assert opened[0].state_dict() == state

    opened[0].load_state_dict(state)
    assert len(list(opened[0])) == 6


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda image: image.numpy(), "it returned ndarray instead of a tensor"),
        (lambda image: image[:, : int(torch.randint(5, 30, ()))], "return tensors of one shape and type"),
        (lambda image: image.float() if torch.rand(()) < 0.5 else image, "return tensors of one shape and type"),
        (lambda image: torch.nn.functional.dropout(image.float()), "dropout draws from torch's global generator"),
    ],
)
def test_samples_that_make_no_batch_are_refused(transform: Any, message: str, root: Path) -> None:
    """With the sample's name."""
    with (
        open_loader("threaded", spec_of(root, sample_transform=transform)) as loader,
        pytest.raises(TransformError, match=f"sample_transform failed on n.*{message}"),
    ):
        list(loader)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda images, labels: images, "it returned Tensor instead of"),
        (lambda images, labels: (images, labels, 3), "it returned 3 values instead of"),
        (lambda images, labels: (images[:-1], labels), "its images are not a tensor or list of the batch's 10"),
        (lambda images, labels: (images, None), "its labels are not"),
    ],
)
def test_batches_that_a_transform_spoils_are_refused(transform: Any, message: str, root: Path) -> None:
    """A batch keeps its samples, so that indexes and columns fit."""
    with (
        open_loader("threaded", spec_of(root, batch_transform=transform)) as loader,
        pytest.raises(TransformError, match=message),
    ):
        next(iter(loader))


@pytest.mark.parametrize("name", ["imagefolder", "webdataset"])
def test_a_transform_that_cannot_be_sent_to_workers_is_refused(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where processes are not forked; the message says what to do."""
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "spawn")
    spec = spec_of(root, workers=1, sample_transform=lambda image: image)
    with pytest.raises(LoaderError, match=r"sample_transform cannot be sent to worker processes: .*use the loader thr"):
        open_loader(name, spec)


def test_a_spec_with_transforms_is_compared_and_sent(root: Path) -> None:
    """Specs are values, with transforms too."""
    transform = v2.RandAugment()
    spec = spec_of(root, sample_transform=transform, scale=[0.2, 1])

    assert spec == spec_of(root, sample_transform=transform, scale=(0.2, 1.0))
    assert spec.scale == (0.2, 1.0)
    assert isinstance(pickle.loads(pickle.dumps(spec)), LoaderSpec)


def test_normalise_is_the_arithmetic_of_torchvision() -> None:
    """With means of one's own too, in Compose, and before labels; the images given stay as they are."""
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    expected = v2.functional.normalize(images.float() / 255, list(mean), list(std))
    labels = torch.tensor([1, 2])

    assert torch.allclose(Normalise(mean, std)(images), expected, atol=1e-6)
    assert torch.allclose(v2.Compose([Normalise(mean, std)])(images), expected, atol=1e-6)
    normalised, same = v2.Compose([Normalise(), v2.Identity()])(images, labels)
    assert torch.equal(same, labels)
    assert normalised.dtype == torch.float32
    floats = images.float()
    Normalise()(floats)
    assert torch.equal(floats, images.float())
