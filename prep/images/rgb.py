"""The RGB pixels of an image of any mode, 8 bits each, as an image viewer shows them.

All loaders, ``shard --encode resize`` and the thumbnails use ``rgb_of``, so that their pixels are the same. Pillow's
own conversion is right for samples of 8 bits. It clips wider samples at 255, so that a 16-bit image becomes white, and
it does not scale floats, so that 0 to 1 becomes black.

The rules for wider samples:

- 16 bits: the high byte, which Pillow itself takes from 16-bit colour images. A TIFF of 12 bits is shifted by 4 bits.
- Signed 16 bits (TIFF): 0 is black and 32,767 is white; a negative number is black (TIFF 6.0, BlackIsZero).
- 32 bits and floats do not say what white is. The largest number of the image decides: the scale is the smallest of
  1 (floats only), 255 and 65,535 that holds it; integers beyond that are scaled by their full range. Floats beyond it
  are clipped.
- A TIFF whose 0 is white (WhiteIsZero) is inverted.

Transparency is dropped, as by Pillow's ``convert("RGB")`` and by torchvision: hidden pixels keep their colours.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .opening import load, open_image

U8 = npt.NDArray[np.uint8]

# Modes that Pillow cannot convert to RGB, or about which it warns.
_DETOUR = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}

# TIFF 6.0, section 8 and 19.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2


def read_rgb(data: bytes) -> Image.Image:
    """Return a file's image in RGB. Raises one of UNREADABLE of ``opening``."""
    return rgb_of(open_image(data))


def rgb_of(image: Image.Image) -> Image.Image:
    """Return an opened image in RGB. Raises one of UNREADABLE of ``opening`` if its pixels are damaged."""
    load(image)
    mode = image.mode
    if mode == "F" or mode == "I" or mode.startswith("I;16"):
        levels = _of_floats(image) if mode == "F" else _of_integers(image)
        return Image.fromarray(255 - levels if _is_inverted(image) else levels).convert("RGB")
    if mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # the same pixels; Pillow would warn otherwise
    return (image.convert(_DETOUR[mode]) if mode in _DETOUR else image).convert("RGB")


def _of_integers(image: Image.Image) -> U8:
    """Return the grey levels of an image of 16-bit or 32-bit integers."""
    values: npt.NDArray[np.integer[Any]] = np.asarray(image)
    bits, signed = _tag(image, _BITS_PER_SAMPLE, 16), _tag(image, _SAMPLE_FORMAT, 1) == _SIGNED
    if bits == 32:
        values = values if signed else values.view(np.uint32)  # Pillow stores them as signed numbers
        peak = int(values.max(initial=0))
        bits, signed = next(((wide, False) for wide in (8, 16) if peak < 1 << wide), (32, signed))
    return np.clip(values >> (bits - 8 - signed), 0, 255).astype(np.uint8)


def _of_floats(image: Image.Image) -> U8:
    """Return the grey levels of an image of floats; what is not a number is black."""
    values = np.nan_to_num(np.asarray(image, np.float32), nan=0, posinf=np.inf, neginf=0)
    peak = values.max(initial=0, where=np.isfinite(values))
    if peak <= 1:
        values = np.round(values * 255)  # k / 255 in single precision becomes k again
    elif peak > 255:
        values = values / 256
    return np.clip(values, 0, 255).astype(np.uint8)


def _is_inverted(image: Image.Image) -> bool:
    """Return whether 0 is white. Pillow inverts TIFFs of at most 8 bits itself."""
    return _tag(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO


def _tag(image: Image.Image, tag: int, default: int) -> int:
    """Return the first number of a TIFF's tag, or ``default`` for another format or without the tag."""
    tags: Any = getattr(image, "tag_v2", None)
    value = tags.get(tag, default) if tags is not None else default
    return int(value[0] if isinstance(value, tuple) else value)
