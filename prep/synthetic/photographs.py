"""Bundled photographs, and the images that synthetic archives derive from them.

Benchmarks need JPEGs with real detail, because decoding time depends on it. Training needs classes that a model can
distinguish. Noise and coloured shapes provide neither. The wheels of scikit-image and scikit-learn contain free
photographs, so nothing is downloaded. One photograph is one class. With more classes than photographs, each further
round over the photographs applies a strong colour transform that is fixed for that round.
"""

import importlib.util
import math
import struct
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..base.errors import SourceError
from ..base.order import uniforms
from ..images.rgb import read_rgb

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Encoding = Literal[
    "jpeg",
    "grey",
    "cmyk",
    "exif",
    "png",
    "rgb-png",
    "webp",
    "bmp",
    "gif",
    "tiff",
    "ppm",
    "progressive",
    "rotated",
    "palette",
    "grey16",
]

# Colour comes first, so that small data sets have colour images. Sizes are 384x303 to 1411x1411.
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
"""Random numbers that ``vary`` takes."""

GRAIN_SAMPLES = 2**21  # more than the largest image has pixels, 1600 x 1200
GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it spread any number of hues evenly

# One TIFF directory whose only entry (Make, ASCII) claims 2,555,904 bytes beyond the end. Pillow's warnings about
# ImageNet's own files report this length.
BROKEN_EXIF = b"Exif\0\0" + struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x010F, 2, 2_555_904, 26, 0)
ORIENTATION = 0x0112  # the EXIF tag; 6: the camera was turned, and a viewer turns the image 90 degrees clockwise


@cache
def photographs() -> tuple[Image.Image, ...]:
    """Return the bundled photographs as RGB images, always in the same order.

    Raises SourceError if scikit-image or scikit-learn is not installed.
    """
    return tuple(_open(name) for name in COLOUR + GREY)


def warm_up() -> None:
    """Load the photographs and the noise once, before several threads need them at the same time."""
    photographs()
    _noise_strip()


def vary(class_index: int, size: tuple[int, int], grain: float, draws: F64) -> Image.Image:
    """Return a new RGB image of a class: a crop of its photograph, randomly flipped, recoloured, with noise.

    ``size`` is (width, height) in pixels, ``grain`` is the standard deviation of the sensor noise in grey levels,
    and ``draws`` is float64 (VARY_DRAWS,) in [0, 1). The same arguments give the same image.
    """
    round_, which = divmod(class_index, len(photographs()))
    photograph = photographs()[which]
    box = _crop(photograph.size, size, draws[:3])
    # A gap of 2 shrinks by whole pixels first: 3.5 times as fast for 64 x 64, without a visible difference.
    image = photograph.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=2)
    image = image.convert("RGB", tuple(_image_colours(round_, draws[3:9]).ravel().tolist()))
    if draws[9] < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    strength = np.float32(grain * (0.5 + draws[10]))
    noisy = np.asarray(image) + strength * _grain(size, draws[11])
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def encode(image: Image.Image, encoding: Encoding, quality: int) -> bytes:
    """Return the bytes of an image file: a baseline 4:2:0 JPEG, another format, or an odd kind of one.

    ``grey`` and ``cmyk`` (Adobe, inverted) are JPEGs of one and four components. ``exif`` is a JPEG whose EXIF is
    damaged (Pillow warns and decodes). ``progressive`` is a JPEG in several scans. ``rotated`` is a JPEG that is
    stored on its side, with EXIF orientation 6. ``png`` is an RGBA PNG, even if the file is named ``.JPEG``;
    ``palette`` and ``grey16`` are PNGs of 256 colours and of 16-bit grey.
    """
    out = BytesIO()
    jpeg: dict[str, Any] = {"format": "JPEG", "quality": quality, "subsampling": "4:2:0"}
    match encoding:
        case "jpeg":
            image.save(out, **jpeg)
        case "grey":
            image.convert("L").save(out, "JPEG", quality=quality)
        case "cmyk":
            image.convert("CMYK").save(out, **jpeg)
        case "exif":
            image.save(out, **jpeg, exif=BROKEN_EXIF)
        case "progressive":
            image.save(out, **jpeg, progressive=True)
        case "rotated":
            exif = Image.Exif()
            exif[ORIENTATION] = 6
            image.transpose(Image.Transpose.ROTATE_90).save(out, **jpeg, exif=exif)
        case "png":
            image.convert("RGBA").save(out, "PNG", compress_level=1)
        case "rgb-png":
            image.save(out, "PNG", compress_level=1)
        case "palette":
            image.quantize(256, dither=Image.Dither.NONE).save(out, "PNG", compress_level=1)
        case "grey16":
            grey = np.asarray(image.convert("L"), np.uint16) * 257
            Image.fromarray(grey).save(out, "PNG", compress_level=1)
        case "webp":
            image.save(out, "WEBP", quality=quality, method=0)
        case "bmp" | "gif" | "tiff" | "ppm":
            image.save(out, encoding.upper())
    return out.getvalue()


def _open(name: str) -> Image.Image:
    package, _, inside = name.partition("/")
    # find_spec does not import the package; importing scikit-image takes most of a second.
    found = importlib.util.find_spec(package)
    folders = (found and found.submodule_search_locations) or []
    for folder in folders:
        path = Path(folder, inside)
        if path.is_file():
            return read_rgb(path.read_bytes())
    raise SourceError(
        f"{name} is not installed, and synthetic archives need the photographs of scikit-image and scikit-learn; "
        f"run: pip install 'feedline[demo]'"
    )


def _crop(photograph: tuple[int, int], size: tuple[int, int], draws: F64) -> tuple[float, float, float, float]:
    """Return a box with the shape of ``size``, 60 to 100 % of the largest that fits, anywhere in the photograph."""
    zoom = min(photograph[0] / size[0], photograph[1] / size[1]) * (0.6 + 0.4 * draws[0])
    width, height = size[0] * zoom, size[1] * zoom
    left, top = (photograph[0] - width) * draws[1], (photograph[1] - height) * draws[2]
    # Rounding can put the box a millionth of a pixel over the edge, and Pillow rejects such a box.
    return left, top, min(left + width, photograph[0]), min(top + height, photograph[1])


def _image_colours(round_: int, draws: F64) -> F64:
    """Return one image's affine colour transform, float64 (3, 4): that of its class, slightly changed."""
    gains, offsets = 0.88 + 0.24 * draws[:3], -12 + 24 * draws[3:6]
    shifted = _round_colours(round_) * gains[:, None]
    shifted[:, 3] += offsets
    return shifted


@cache
def _round_colours(round_: int) -> F64:
    """Return the colour transform that distinguishes this round's classes, float64 (3, 4); round 0 changes nothing.

    A hue rotation moves colours, and a swap of two channels reflects them. Neither changes greys, so a tint and a
    negative distinguish the classes of greyscale photographs.
    """
    if round_ == 0:
        return np.eye(3, 4)
    angle = 2 * math.pi * GOLDEN * round_
    thirds = np.arange(3) * 2 * math.pi / 3
    # In a rotation about the grey axis, row r, column c depends on (c - r) mod 3 only.
    around = (1 + 2 * np.cos(angle + thirds)) / 3
    rotation = around[(np.arange(3)[None, :] - np.arange(3)[:, None]) % 3]
    swapped = rotation[:, [1, 0, 2]] if round_ % 2 else rotation
    saturation = 0.8 if round_ % 8 >= 4 else 0.5
    tint = (1 + saturation * np.cos(angle + thirds)) / (1 + saturation / 2)
    transform = np.column_stack([tint[:, None] * swapped, np.zeros(3)])
    if round_ % 4 >= 2:
        transform[:, :3] *= -1
        transform[:, 3] = 255 * tint
    return transform


def _grain(size: tuple[int, int], draw: float) -> F32:
    """Return Gaussian noise for an image, float32 (height, width, 1), cut from ``_noise_strip``."""
    width, height = size
    start = int(draw * (GRAIN_SAMPLES - width * height))
    return _noise_strip()[start : start + width * height].reshape(height, width, 1)


@cache
def _noise_strip() -> F32:
    """Return standard normal noise, float32 (GRAIN_SAMPLES,), by Box and Muller's transform (1958)."""
    draws = uniforms(np.arange(GRAIN_SAMPLES // 2), 2, GRAIN_SAMPLES)
    radius, angle = np.sqrt(-2 * np.log1p(-draws[:, 0])), 2 * math.pi * draws[:, 1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32)
