"""The pixels of all loaders against Pillow's and torchvision's: same crops, same resize, within a stated tolerance."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from feedline.loaders import LOADERS, LoaderSpec, open_loader
from feedline.loaders.pixels.crops import draw_crops, train_crop
from feedline.prep import (
    LoaderError,
    ShardSpec,
    SyntheticSpec,
    prepare_imagenet,
    write_shards,
    write_synthetic,
)

from ..contract import COVERING, DCT, GPU, PLANAR, open_named, require_loader, spec_of

EITHER = [*(name for name in COVERING if LOADERS[name].needs == "either"), DCT, GPU]
# Grey levels, at most and in the mean. threaded resizes first along the rows, as Pillow did up to version 12; Pillow 13
# begins with the columns if they shrink most. In the planar order it clips colours after the resize and not before it.
# DALI resizes in floats, and where it shrinks, it repeats the border that Pillow leaves out of the average.
TOLERANCE = {"imagefolder": 0, "webdataset": 0, "threaded": 1, "dali": 16, DCT: 80, GPU: 1, PLANAR: 27}
MEAN_TOLERANCE = {"imagefolder": 0, "webdataset": 0, "threaded": 0.1, "dali": 0.3, DCT: 2, GPU: 0.2, PLANAR: 0.5}


def train_reference(path: Path, index: int, size: int) -> torch.Tensor:
    """The crop and flip planned for epoch 2, by Pillow and torchvision."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    draws = draw_crops(np.array([index]), seed=5, epoch=2)[0].tolist()
    left, top, width, height, flip = train_crop(draws, rgb.width, rgb.height)
    expected = v2.functional.resized_crop(rgb, top, left, height, width, [size, size], antialias=True)
    return v2.functional.pil_to_tensor(v2.functional.hflip(expected) if flip else expected)


def eval_reference(path: Path, index: int, size: int) -> torch.Tensor:
    """torchvision's evaluation transforms on a PIL image."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    transforms = [v2.Resize(round(size * 256 / 224), antialias=True), v2.CenterCrop(size), v2.PILToTensor()]
    return v2.Compose(transforms)(rgb)


def pixel_errors(name: str, spec: LoaderSpec) -> tuple[float, int]:
    """Return the mean and the largest difference of epoch 2 from the reference, in grey levels."""
    samples = ImageFolder(spec.root / spec.split).samples
    reference = train_reference if spec.transform == "train" else eval_reference
    errors: list[torch.Tensor] = []
    with closing(open_named(name, spec)) as loader:
        loader.set_epoch(2)
        for batch in loader:
            for image, index in zip(batch.images.cpu(), batch.indexes.tolist(), strict=True):
                expected = reference(Path(samples[index][0]), index, spec.image_size)
                errors.append((image.int() - expected.int()).abs())
    assert len(errors) == len(samples)
    return float(torch.stack(errors).float().mean()), int(torch.stack(errors).max())


@pytest.mark.filterwarnings("ignore::UserWarning")  # the broken EXIF, read here by the reference
def test_train_pixels_equal_the_pillow_reference(name: str, root: Path) -> None:
    """Crop, antialiased bilinear resize and flip of the planned box, over every image, odd files included."""
    mean, largest = pixel_errors(name, spec_of(root))

    assert mean <= MEAN_TOLERANCE[name]
    assert largest <= TOLERANCE[name]


def test_eval_pixels_equal_torchvision(name: str, root: Path) -> None:
    """Resize to size * 256 / 224 and centre crop, as torchvision's transforms do on PIL images."""
    mean, largest = pixel_errors(name, spec_of(root, split="val", transform="eval", image_size=56))

    assert mean <= MEAN_TOLERANCE[name]
    assert largest <= TOLERANCE[name]


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["train", "eval"])
def test_pixels_of_photographs_as_large_as_imagenets(name: str, transform: str, photographs: Path) -> None:
    """At 224 pixels the tolerance holds too. Prints the row of the table in docs/loaders.md: run it with -s."""
    mean, largest = pixel_errors(name, spec_of(photographs, transform=transform, image_size=224, workers=2))
    print(f"\n| `{name}` | {transform} | {mean:.3f} | {largest} |")

    assert mean <= MEAN_TOLERANCE[name]
    assert largest <= TOLERANCE[name]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared root of 160 training images of ImageNet's size, with restart-marker shards."""
    archives, root = tmp_path_factory.mktemp("archives"), tmp_path_factory.mktemp("photographs") / "data"
    write_synthetic(archives, SyntheticSpec(layout="ilsvrc2012", classes=8, images_per_class=20, seed=2))
    prepare_imagenet([archives], root)
    write_shards(root, ShardSpec(encode="restart"))
    return root


@pytest.mark.parametrize("name", EITHER)
def test_shards_and_class_folders_give_the_same_batches(name: str, root: Path, folders: Path) -> None:
    """A loader that reads either hands out the same samples in the same order with the same pixels."""
    require_loader(name)
    with (
        closing(open_named(name, spec_of(root))) as of_shards,
        closing(open_named(name, spec_of(folders))) as of_folders,
    ):
        for expected, actual in zip(of_shards, of_folders, strict=True):
            assert actual.indexes.tolist() == expected.indexes.tolist()
            assert actual.labels.tolist() == expected.labels.tolist()
            assert torch.equal(actual.images, expected.images)


def test_evaluation_is_exact_in_both_orders(root: Path) -> None:
    """The planar order is for training only."""
    spec = spec_of(root, split="val", transform="eval")
    with closing(open_named(PLANAR, spec)) as planar, closing(open_named("threaded", spec)) as exact:
        for expected, actual in zip(exact, planar, strict=True):
            assert torch.equal(actual.images, expected.images)


@pytest.mark.parametrize("name", [name for name, entry in LOADERS.items() if "pixels 'planar'" not in entry.abilities])
def test_loaders_without_the_planar_order_refuse_it(name: str, root: Path) -> None:
    """The message names the one that has it."""
    with pytest.raises(LoaderError, match=f"{name} cannot do pixels 'planar'; choose one of: threaded"):
        open_loader(name, spec_of(root, pixels="planar"))


@pytest.mark.parametrize("other", [{"decode": "gpu"}, {"dct_scaling": True}])
def test_the_planar_order_is_of_the_cpu_at_full_size(other: dict[str, object], root: Path) -> None:
    """Two ways to decode at once are refused."""
    with pytest.raises(LoaderError, match="pixels 'planar' are decoded on the CPU at full size"):
        spec_of(root, pixels="planar", **other)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::UserWarning")  # the broken EXIF, read here by the reference
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_dali_decodes_on_the_gpu(root: Path) -> None:
    """nvJPEG rounds in its own way; on average its pixels are the reference's within 2 grey levels."""
    require_loader("dali")
    with closing(open_loader("dali", spec_of(root, device="cuda", workers=2))) as loader:
        assert all(batch.images.device.type == "cuda" for batch in loader)

    assert pixel_errors("dali", spec_of(root, device="cuda", workers=2))[0] <= 2


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["train", "eval"])
@pytest.mark.parametrize("size", [64, 128])
def test_dct_scaling_of_photographs(size: int, transform: str, photographs: Path) -> None:
    """At sizes where it applies to nearly all, or half of them. Prints the row of the table in docs/loaders.md."""
    mean, largest = pixel_errors(DCT, spec_of(photographs, transform=transform, image_size=size, workers=2))
    print(f"\n| `threaded`, DCT-scaled, {size} px | {transform} | {mean:.3f} | {largest} |")

    assert mean <= MEAN_TOLERANCE[DCT]
    assert largest <= TOLERANCE[DCT]
