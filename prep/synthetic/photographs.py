"""Real photographs, and endless images made of them: what the synthetic archives show.

Benchmarks need JPEGs with real detail (decoding time depends on it) and training needs classes that can be told
apart; noise or coloured shapes give neither. scikit-image and scikit-learn carry free photographs inside their
wheels, so nothing is downloaded. One photograph is one class; when there are more classes than photographs, each
further round over them wears a fixed, strong colour transform of its own.
"""

import importlib.util
import math
import struct
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..base.errors import SourceError
from ..base.order import uniforms

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Encoding = Literal["jpeg", "grey", "cmyk", "exif", "png"]

# Colour first, because a small data set should look like photographs. Sizes run from 384x303 to 1411x1411.
COLOUR = (
    "skimage/data/astronaut.png",
    "skimage/data/coffee.png",
    "skimage/data/chelsea.png",
    "skimage/data/rocket.jpg",
    "skimage/data/hubble_deep_field.jpg",
    "skimage/data/ihc.png",
    "skimage/data/retina.jpg",
    "skimage/data/motorcycle_left.png",
    "sklearn/datasets/images/china.jpg",
    "sklearn/datasets/images/flower.jpg",
)
GREY = (
    "skimage/data/camera.png",
    "skimage/data/brick.png",
    "skimage/data/grass.png",
    "skimage/data/gravel.png",
    "skimage/data/moon.png",
    "skimage/data/coins.png",
)

VARY_DRAWS = 12
"""How many random numbers ``vary`` takes."""

GRAIN_SAMPLES = 2**21  # more than the largest image has pixels, 1600 x 1200
GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it spread hues evenly, however many are taken

# One TIFF directory whose only entry (Make, ASCII) claims 2,555,904 bytes beyond the end: the length that
# Pillow's warnings about ImageNet's own files quote.
BROKEN_EXIF = b"Exif\0\0" + struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x010F, 2, 2_555_904, 26, 0)


@cache
def photographs() -> tuple[Image.Image, ...]:
    """Return the bundled photographs as RGB images, always in the same order.

    Raises SourceError when scikit-image or scikit-learn is not installed.
    """
    return tuple(_open(name) for name in COLOUR + GREY)


def warm_up() -> None:
    """Load the photographs and the noise: once, before many threads ask for them together."""
    photographs()
    _strip()


def vary(class_index: int, size: tuple[int, int], grain: float, draws: F64) -> Image.Image:
    """Return a new RGB image of a class: a crop of its photograph, perhaps flipped, recoloured, with noise.

    ``size`` is (width, height) in pixels, ``grain`` the standard deviation of the sensor noise in grey levels,
    ``draws`` float64 (VARY_DRAWS,) in [0, 1): the same arguments give the same image.
    """
    round_, which = divmod(class_index, len(photographs()))
    photograph = photographs()[which]
    box = _crop(photograph.size, size, draws[:3])
    # A gap of 2 shrinks by whole pixels first: 3.5 times as fast for 64 x 64, and no difference to be seen.
    image = photograph.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=2)
    image = image.convert("RGB", tuple(_colours(round_, draws[3:9]).ravel().tolist()))
    if draws[9] < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    strength = np.float32(grain * (0.5 + draws[10]))
    noisy = np.asarray(image) + strength * _grain(size, draws[11])
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def encode(image: Image.Image, encoding: Encoding, quality: int) -> bytes:
    """Return the file for an image: a baseline 4:2:0 JPEG, or one of the odd kinds that ImageNet holds.

    ``grey`` and ``cmyk`` (Adobe, inverted) are JPEGs of one and four components, ``exif`` is a JPEG whose EXIF
    is damaged (Pillow warns and decodes), and ``png`` is an RGBA PNG, whatever the file will be called.
    """
    out = BytesIO()
    match encoding:
        case "png":
            image.convert("RGBA").save(out, "PNG", compress_level=1)
        case "grey":
            image.convert("L").save(out, "JPEG", quality=quality)
        case "cmyk":
            image.convert("CMYK").save(out, "JPEG", quality=quality, subsampling="4:2:0")
        case "exif":
            image.save(out, "JPEG", quality=quality, subsampling="4:2:0", exif=BROKEN_EXIF)
        case "jpeg":
            image.save(out, "JPEG", quality=quality, subsampling="4:2:0")
    return out.getvalue()


def _open(name: str) -> Image.Image:
    package, _, inside = name.partition("/")
    # Finding a package does not import it: importing scikit-image takes most of a second.
    found = importlib.util.find_spec(package)
    folders = (found and found.submodule_search_locations) or []
    for folder in folders:
        path = Path(folder, inside)
        if path.is_file():
            with Image.open(path) as photograph:
                return photograph.convert("RGB")
    raise SourceError(
        f"the synthetic archives are made of photographs bundled with scikit-image and scikit-learn, "
        f"and {name} is not installed: pip install 'feedline[demo]'"
    )


def _crop(photograph: tuple[int, int], size: tuple[int, int], draws: F64) -> tuple[float, float, float, float]:
    """Return a box of the image's shape, 60 to 100 % of the largest that fits, anywhere in the photograph."""
    zoom = min(photograph[0] / size[0], photograph[1] / size[1]) * (0.6 + 0.4 * draws[0])
    width, height = size[0] * zoom, size[1] * zoom
    left, top = (photograph[0] - width) * draws[1], (photograph[1] - height) * draws[2]
    # Rounding must not push the box over the edge by a millionth of a pixel: Pillow refuses such a box.
    return left, top, min(left + width, photograph[0]), min(top + height, photograph[1])


def _colours(round_: int, draws: F64) -> F64:
    """Return the affine colour transform of one image, float64 (3, 4): its class's look, a little shifted."""
    gains, offsets = 0.88 + 0.24 * draws[:3], -12 + 24 * draws[3:6]
    shifted = _look(round_) * gains[:, None]
    shifted[:, 3] += offsets
    return shifted


@cache
def _look(round_: int) -> F64:
    """Return the colour transform that sets this round's classes apart, float64 (3, 4); round 0 changes nothing.

    A hue rotation moves colours, and two channels swapped reflect them; both leave greys alone, so a tint and a
    negative tell the greyscale photographs' classes apart.
    """
    if round_ == 0:
        return np.eye(3, 4)
    angle = 2 * math.pi * GOLDEN * round_
    thirds = np.arange(3) * 2 * math.pi / 3
    # Rotation about the grey axis: row r, column c depends on (c - r) mod 3 only.
    around = (1 + 2 * np.cos(angle + thirds)) / 3
    rotation = around[(np.arange(3)[None, :] - np.arange(3)[:, None]) % 3]
    swapped = rotation[:, [1, 0, 2]] if round_ % 2 else rotation
    saturation = 0.8 if round_ % 8 >= 4 else 0.5
    tint = (1 + saturation * np.cos(angle + thirds)) / (1 + saturation / 2)
    look = np.column_stack([tint[:, None] * swapped, np.zeros(3)])
    if round_ % 4 >= 2:
        look[:, :3] *= -1
        look[:, 3] = 255 * tint
    return look


def _grain(size: tuple[int, int], draw: float) -> F32:
    """Return Gaussian noise for an image, float32 (height, width, 1): a stretch of one long strip."""
    width, height = size
    start = int(draw * (GRAIN_SAMPLES - width * height))
    return _strip()[start : start + width * height].reshape(height, width, 1)


@cache
def _strip() -> F32:
    """Return standard normal noise, float32 (GRAIN_SAMPLES,), by Box and Muller's transform (1958)."""
    draws = uniforms(np.arange(GRAIN_SAMPLES // 2), 2, GRAIN_SAMPLES)
    radius, angle = np.sqrt(-2 * np.log1p(-draws[:, 0])), 2 * math.pi * draws[:, 1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32)
