"""timm's create_dataset and create_loader on a root: what timm's train.py does with them."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import LoaderError

timm: Any = pytest.importorskip("timm.data")

from feedline.loaders.adapters.timm import create_dataset, create_loader  # noqa: E402

# What train.py passes if its user chooses a size, 3 epochs and an interpolation, and no augmentation of colours.
COMMON: dict[str, Any] = {
    "mean": (0.5, 0.4, 0.3),
    "std": (0.2, 0.25, 0.3),
    "pin_memory": False,
    "img_dtype": torch.float32,
    "device": torch.device("cpu"),
    "distributed": False,
    "use_prefetcher": True,
}
TRAINING: dict[str, Any] = {
    **COMMON,
    "input_size": (3, 16, 16),
    "input_size_choices": None,
    "batch_choice_seed": 42,
    "batch_choice_schedule": "constant",
    "batch_schedule_spread": 0.65,
    "batch_schedule_random_mix": 0.1,
    "num_batches": None,
    "batch_size": 10,
    "is_training": True,
    "no_aug": False,
    "re_prob": 0.0,
    "re_mode": "pixel",
    "re_count": 1,
    "re_split": False,
    "train_crop_mode": None,
    "scale": [0.08, 1.0],
    "ratio": [3 / 4, 4 / 3],
    "hflip": 0.5,
    "vflip": 0.0,
    "color_jitter": 0.0,
    "auto_augment": None,
    "num_aug_repeats": 0,
    "num_aug_splits": 0,
    "interpolation": "bilinear",
    "num_workers": 2,
    "worker_seeding": "all",
    "collate_fn": None,
    "use_multi_epochs_loader": False,
}
EVALUATING: dict[str, Any] = {
    **COMMON,
    "input_size": (3, 16, 16),
    "batch_size": 10,
    "is_training": False,
    "interpolation": "bilinear",
    "num_workers": 1,
    "crop_pct": 0.875,
}


@pytest.fixture
def loader_of(root: Path) -> Iterator[Callable[..., Any]]:
    """Makes loaders as train.py does, and closes them."""
    made: list[Any] = []

    def makes(is_training: bool = True, **changed: Any) -> Any:
        dataset = create_dataset(
            "",
            root=str(root),
            split="train" if is_training else "validation",
            is_training=is_training,
            class_map="",
            download=False,
            batch_size=10,
            seed=42,
            repeats=0,
            input_img_mode="RGB",
            input_key=None,
            target_key=None,
            num_samples=None,
            trust_remote_code=False,
        )
        made.append(create_loader(dataset, **{**(TRAINING if is_training else EVALUATING), **changed}))
        return made[-1]

    yield makes
    for loader in made:
        getattr(loader, "loader", loader).close()


def test_training_yields_normalised_epochs(loader_of: Any, root: Path) -> None:
    """train.py sets each epoch on whatever has set_epoch; the pixels are the loader's own, normalised."""
    loader = loader_of()
    assert isinstance(loader, timm.loader.PrefetchLoader) and len(loader) == 8 and len(loader.dataset) == 84
    mean, std = (255 * torch.tensor(COMMON[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with open_loader("threaded", LoaderSpec.train(root, batch_size=10, image_size=16, seed=42)) as wanted:
        for epoch in (0, 1, 2, 4):
            for place in (loader.dataset, loader.batch_sampler):
                if hasattr(place, "set_epoch"):
                    place.set_epoch(epoch)
            wanted.set_epoch(epoch)
            for (images, labels), batch in zip(loader, wanted, strict=True):
                torch.testing.assert_close(images, (batch.images - mean) / std)
                assert torch.equal(labels, batch.labels)


def test_evaluation_yields_each_sample_in_order(loader_of: Any, root: Path) -> None:
    """Also without the prefetcher, as floats too."""
    with open_loader("threaded", LoaderSpec.eval(root, image_size=16)) as loader:
        labels = [label for batch in loader for label in batch.labels.tolist()]
    found = list(loader_of(False))
    assert [label for _, part in found for label in part.tolist()] == labels
    plain = list(loader_of(False, use_prefetcher=False))
    assert all(torch.allclose(one[0], other[0], atol=1e-5) for one, other in zip(found, plain, strict=True))
    assert plain[0][0].dtype == torch.float32


def test_mixup_in_the_collate_function(loader_of: Any) -> None:
    """timm's own, which train.py switches off in a later epoch."""
    mixing = timm.FastCollateMixup(mixup_alpha=0.8, num_classes=4)
    loader = loader_of(collate_fn=mixing)
    assert loader.mixup_enabled
    images, targets = next(iter(loader))
    assert images.shape == (10, 3, 16, 16) and targets.shape == (10, 4)
    torch.testing.assert_close(targets.sum(1), torch.ones(10))
    assert (targets > 0.01).sum(1).max() == 2 or mixing.label_smoothing
    loader.mixup_enabled = False
    assert not mixing.mixup_enabled


def test_random_erasing(loader_of: Any) -> None:
    """On the device, with the prefetcher and without."""
    untouched = [images for images, _ in loader_of()]
    for prefetches in (True, False):
        erased = [images for images, _ in loader_of(re_prob=1.0, re_mode="const", use_prefetcher=prefetches)]
        for one, other in zip(untouched, erased, strict=True):
            changed = ((one - other).abs() > 1e-4).any(1).flatten(1).float().mean(1)
            assert ((changed > 0.01) & (changed < 0.5)).all()


@pytest.mark.parametrize(
    ("is_training", "argument", "value"),
    [
        (True, "num_aug_repeats", 3),
        (True, "num_aug_splits", 3),
        (True, "train_crop_mode", "rkrc"),
        (True, "interpolation", "random"),
        (True, "input_size_choices", [16, 32]),
        (True, "num_batches", 5),
        (False, "crop_mode", "squash"),
        (False, "crop_border_pixels", 4),
        (False, "tf_preprocessing", True),
        (False, "input_size", (3, 16, 32)),
        (False, "input_size", (1, 16, 16)),
        (False, "interpolation", "lanczos"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(
    is_training: bool, argument: str, value: Any, loader_of: Any
) -> None:
    """Never ignored."""
    with pytest.raises(LoaderError, match=rf"cannot honour {argument}="):
        loader_of(is_training, **{argument: value})


@pytest.mark.parametrize(
    ("argument", "value"), [("class_map", "classes.txt"), ("repeats", 2), ("input_img_mode", "L"), ("input_key", "jpg")]
)
def test_what_a_data_set_cannot_honour_is_refused_by_its_name(argument: str, value: Any, root: Path) -> None:
    """Arguments of other kinds of data sets."""
    with pytest.raises(LoaderError, match=rf"cannot honour {argument}="):
        create_dataset("", root=root, **{argument: value})


def test_other_data_sets_and_arguments_are_refused(root: Path) -> None:
    """A name of timm's own, an argument that timm has not, a data set of timm's."""
    with pytest.raises(LoaderError, match="the data set 'hfds' is none of feedline's"):
        create_dataset("hfds/food101", root=root)
    with pytest.raises(TypeError, match="no_such"):
        create_loader(create_dataset("feedline/dali", root=root), 16, 8, no_such=1)
    with pytest.raises(LoaderError, match="ImageDataset is not what create_dataset of feedline returns"):
        create_loader(timm.ImageDataset(str(root / "train")), 16, 8)


def test_a_loop_that_counts_batches_sees_every_epoch(loader_of: Any) -> None:
    """Without set_epoch too."""
    loader = loader_of()
    first, second = ([images.sum().item() for images, _ in itertools.islice(loader, 8)] for _ in range(2))
    assert len(first) == 8 and first != second


def test_crops_and_flips_are_fields_of_the_spec(loader_of: Any, root: Path) -> None:
    """Another scale, ratio, flip and interpolation in training; another crop_pct and interpolation in evaluation."""
    mean, std = (255 * torch.tensor(COMMON[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    train = loader_of(scale=[0.5, 0.9], ratio=[1.0, 1.5], hflip=0.0, interpolation="bicubic")
    fields: dict[str, Any] = {"batch_size": 10, "image_size": 16, "interpolation": "bicubic"}
    spec = LoaderSpec.train(root, seed=42, scale=(0.5, 0.9), ratio=(1.0, 1.5), flip=0.0, **fields)
    val = loader_of(False, crop_pct=0.95, interpolation="bicubic")
    for made, wanted in ((train, spec), (val, LoaderSpec.eval(root, resize_size=16, **fields))):
        with open_loader("threaded", wanted) as loader:
            for (images, _), batch in zip(made, loader, strict=True):
                torch.testing.assert_close(images, (batch.images - mean) / std)
    plain = loader_of(no_aug=True)
    with open_loader("threaded", LoaderSpec.train(root, **TRAIN_PLAIN, transform="eval", resize_size=16)) as loader:
        assert all(torch.equal(labels, batch.labels) for (_, labels), batch in zip(plain, loader, strict=True))


TRAIN_PLAIN: dict[str, Any] = {"batch_size": 10, "image_size": 16, "seed": 42}


@pytest.mark.parametrize(
    "changed",
    [
        {"color_jitter": 0.4},
        {"color_jitter": 0.4, "color_jitter_prob": 1.0},
        {"grayscale_prob": 1.0},
        {"gaussian_blur_prob": 1.0, "input_size": (3, 32, 32)},
        {"vflip": 1.0},
        {"auto_augment": "rand-m5-mstd0.5-inc1"},
        {"auto_augment": "augmix-m3-w3"},
    ],
    ids=str,
)
def test_what_timm_does_after_the_crop_is_timm_s_own(changed: dict[str, Any], loader_of: Any) -> None:
    """On the same crops, in the loader's threads."""
    size = {name: changed[name] for name in changed if name == "input_size"}
    plain = [images for images, _ in loader_of(**size)]
    found = [images for images, _ in loader_of(**changed)]
    assert len(found) == len(plain) and not any(map(torch.equal, found, plain))
    if "vflip" in changed:
        assert all(torch.equal(one.flip(2), other) for one, other in zip(plain, found, strict=True))
    if "grayscale_prob" in changed:
        std, mean = (torch.tensor(COMMON[name]).view(1, 3, 1, 1) for name in ("std", "mean"))
        pixels = [images * std + mean for images in found]
        assert all((images[:, :1] - images).abs().max() < 1e-5 for images in pixels)
    if set(changed) == {"color_jitter"}:  # torchvision's, which draws from torch's generator: each sample has its own
        again = [images for images, _ in loader_of(**changed, num_workers=0)]
        assert all(map(torch.equal, found, again))
