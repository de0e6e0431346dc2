"""The fields of a spec that crop, resize and flip, in every loader, against torchvision on Pillow's images."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import RandomResizedCrop, v2

from feedline.loaders import Loader, LoaderSpec
from feedline.loaders.pixels.crops import draw_crops, train_crop
from feedline.prep import LoaderError

from ..contract import DCT, GPU, PLANAR, open_named, spec_of
from .test_pixels import MEAN_TOLERANCE, TOLERANCE

F = v2.functional
MODES = {"bilinear": v2.InterpolationMode.BILINEAR, "bicubic": v2.InterpolationMode.BICUBIC}
# Mean and largest difference. Bicubic weights overshoot: DALI clips only at the end, where Pillow clips twice. threaded
# clips twice too, but always resizes along the rows first, which Pillow 13 does only for some shapes.
BICUBIC = {"threaded": (0.1, 12), "dali": (0.5, 64), GPU: (0.3, 3)}
SQUEEZED = {"dali": (0.3, 32)}  # images that shrink most have the largest differences at their border


def reference(image: Image.Image, index: int, spec: LoaderSpec) -> torch.Tensor:
    """What torchvision makes of the image, with the random numbers of epoch 2."""
    mode, size = MODES[spec.interpolation], spec.side
    if spec.transform == "resize":
        image = v2.Resize((size, size), mode)(image)
    elif spec.transform == "eval":
        image = v2.CenterCrop(size)(v2.Resize(spec.resize_size or round(size * 256 / 224), mode)(image))
    else:
        draws = draw_crops(np.array([index]), seed=spec.seed, epoch=2)[0].tolist()
        left, top, width, height, flip = train_crop(draws, image.width, image.height, spec.scale, spec.ratio, spec.flip)
        image = F.resized_crop(image, top, left, height, width, [size, size], mode)
        image = F.hflip(image) if flip else image
    return F.pil_to_tensor(image)


def differences(loader: Loader, spec: LoaderSpec) -> torch.Tensor:
    """Return the absolute differences of epoch 2 from the reference."""
    files = ImageFolder(spec.root / spec.split).samples
    found: list[torch.Tensor] = []
    loader.set_epoch(2)
    for batch in loader:
        for sample, index in zip(batch.images, batch.indexes.tolist(), strict=True):
            with Image.open(files[index][0]) as image:
                found.append((sample.int() - reference(image.convert("RGB"), index, spec).int()).abs())
    return torch.stack(found)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the broken EXIF, read here by the reference
@pytest.mark.parametrize(
    "fields",
    [
        {"transform": "train", "scale": (0.3, 0.5), "ratio": (1.5, 3), "flip": 1},
        {"transform": "train", "flip": 0.0, "interpolation": "bicubic"},
        {"transform": "eval", "resize_size": 48},
        {"transform": "eval", "interpolation": "bicubic"},
        {"transform": "resize"},
        {"transform": "resize", "interpolation": "bicubic"},
    ],
)
def test_pixels_equal_torchvisions(name: str, fields: dict[str, Any], root: Path) -> None:
    """Within the loader's tolerance, in batches and in the view of single samples; odd files included."""
    if name in (DCT, PLANAR) and fields.get("interpolation") == "bicubic":
        pytest.skip("refused by the spec, see below")
    spec = spec_of(root, split="val", **fields)
    with closing(open_named(name, spec)) as loader:
        found = differences(loader, spec).float()
        mean, most = MEAN_TOLERANCE[name], TOLERANCE[name]
        if spec.interpolation == "bicubic":
            mean, most = BICUBIC.get(name, (0, 0))
        elif spec.transform == "resize":
            mean, most = SQUEEZED.get(name, (mean, most))
        assert found.mean() <= mean
        assert found.max() <= most

        loader.set_epoch(2)
        files = ImageFolder(spec.root / spec.split).samples
        with Image.open(files[3][0]) as image:
            assert torch.equal(loader.dataset[3][0], reference(image.convert("RGB"), 3, spec))


@pytest.mark.parametrize(("scale", "ratio"), [((0.3, 0.4), (0.5, 2.0)), ((0.9, 1.0), (3.0, 4.0)), ((1, 1), (1, 1))])
@pytest.mark.parametrize(("width", "height"), [(500, 375), (64, 64), (30, 400)])
def test_boxes_are_distributed_as_torchvision_distributes_them(
    scale: tuple[float, float], ratio: tuple[float, float], width: int, height: int
) -> None:
    """Also where no box fits and torchvision takes a centred one."""
    torch.manual_seed(0)
    count, image = 2000, Image.new("RGB", (width, height))
    theirs = np.array([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(count)])
    draws = draw_crops(np.arange(count), seed=0, epoch=0).tolist()
    crops = [train_crop(row, width, height, scale, ratio) for row in draws]
    ours = np.array([(crop.top, crop.left, crop.height, crop.width) for crop in crops])
    limit = 1.95 * np.sqrt(2 / count)  # Kolmogorov-Smirnov at 0.1 %
    for column in range(4):
        values = np.union1d(theirs[:, column], ours[:, column])
        gaps = [np.searchsorted(np.sort(found[:, column]), values, "right") for found in (theirs, ours)]

        assert np.abs(gaps[0] - gaps[1]).max() / count < limit


@pytest.mark.parametrize("flip", [0.0, 0.2, 1.0])
def test_flips_come_with_their_probability(flip: float) -> None:
    """Within five standard deviations, for a fixed seed."""
    count = 4000
    crops = [train_crop(row, 9, 9, flip=flip) for row in draw_crops(np.arange(count), seed=1, epoch=0).tolist()]

    assert abs(sum(crop.flip for crop in crops) - count * flip) <= 5 * np.sqrt(count * flip * (1 - flip))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 0.5}, "scale must be two numbers, the smaller one first, got 0.5"),
        ({"scale": (0.9, 0.1)}, "the smaller one first"),
        ({"scale": (0.1, 1.5)}, "at most 1, the smaller one first"),
        ({"scale": (0.1, float("nan"))}, "the smaller one first"),
        ({"ratio": (0, 1)}, "ratio must be two numbers above 0"),
        ({"ratio": ("3/4", "4/3")}, "ratio must be two numbers"),
        ({"flip": True}, "flip must be a probability from 0 to 1, got True"),
        ({"flip": 1.5}, "flip must be a probability"),
        ({"interpolation": "lanczos"}, "interpolation must be one of 'bilinear', 'bicubic', got 'lanczos'"),
        ({"transform": "eval", "resize_size": 20}, "resize_size 20 is smaller than image_size 32"),
        ({"resize_size": 40}, "resize_size=40 means nothing with transform 'train'"),
        ({"transform": "eval", "flip": 0.1}, "flip=0.1 means nothing with transform 'eval'"),
        ({"transform": "resize", "scale": (0.5, 1)}, "scale=.* means nothing with transform 'resize'"),
        ({"image_size": None, "transform": "resize"}, "needs an image_size"),
        ({"image_size": None, "interpolation": "bicubic"}, "means nothing with image_size=None"),
        ({"image_size": None, "dct_scaling": True}, "dct_scaling=True makes samples of one size"),
        ({"interpolation": "bicubic", "dct_scaling": True}, "dct_scaling resizes by bilinear interpolation only"),
        ({"interpolation": "bicubic", "pixels": "planar"}, "pixels 'planar' resizes by bilinear"),
    ],
)
def test_fields_that_mean_nothing_are_refused(fields: dict[str, Any], message: str) -> None:
    """A field is never ignored, and a number that cannot be meant is not taken."""
    with pytest.raises(LoaderError, match=message):
        spec_of(Path("nowhere"), **fields)
