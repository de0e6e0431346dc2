"""The reference for the pixels of all loaders: Pillow turns the bytes of a file into the pixels of one sample.

Pillow (or its replacement Pillow-SIMD) decodes every file that ImageNet contains. CMYK and greyscale JPEGs, a PNG named
.JPEG, files with broken EXIF and images of 16 bits become RGB as in ``prep.images.rgb``. Crop and resize are those of
torchvision's transforms on PIL images, antialiased.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...prep.images.opening import out_of_memory
from ...prep.images.rgb import read_rgb
from ..spec import LoaderSpec
from .crops import draw_crops, frame, framing_of
from .thin import resize

Pixels = npt.NDArray[np.uint8]


def draws_of(keys: Sequence[int], epoch: int, spec: LoaderSpec) -> list[list[float]]:
    """Return the random numbers of the crop for each sample of a batch, 41 each, or none if nothing is drawn.

    ``keys`` are draw keys (``sampling.draw_keys``): sample indexes, if no sample appears twice in an epoch.
    """
    if not spec.crops_at_random:
        return [[] for _ in keys]
    return draw_crops(np.array(keys, dtype=np.int64), seed=spec.seed, epoch=epoch).tolist()


def read_pixels(data: bytes, draws: Sequence[float], spec: LoaderSpec) -> Pixels:
    """Return one sample of a file's bytes as uint8 (H, W, 3), H = W = ``spec.image_size`` unless that is None.

    Raises one of UNREADABLE (``prep.images.opening``) for an image that Pillow cannot read, for one of more than 179
    megapixels or of more pixels than there is memory for, and for a file of a format that is not opened, such as EPS.
    """
    try:
        return fit(decode_rgb(data), draws, spec)
    except MemoryError as error:
        raise out_of_memory(data) from error


def decode_rgb(data: bytes) -> Image.Image:
    """Return the whole image of a file's bytes. Raises what ``read_pixels`` raises."""
    return read_rgb(without_exif(data))


def without_exif(data: bytes) -> bytes:
    """Return the file with its EXIF made unrecognisable; its length and its pixels stay the same.

    ImageNet has files with broken EXIF, about which Pillow warns, and no loader rotates as EXIF says. Silencing the
    warning instead would change Python's warning filters for all threads.
    """
    return data.replace(b"Exif\0\0", bytes(6))


def fit(image: Image.Image, draws: Sequence[float], spec: LoaderSpec) -> Pixels:
    """Return a decoded image cropped, resized and mirrored to one sample, as ``read_pixels`` does."""
    if spec.image_size is None:
        return np.array(image)
    (left, top, width, height), target, (x, y), flip = frame(draws, image.width, image.height, framing_of(spec))
    image = image.crop((left, top, left + width, top + height))  # resize's own box would blend in pixels outside it
    image = resize(image, target, (x, y), spec.side, spec.interpolation)
    return np.array(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image)
