"""Decoding of an encoded image directly into its row of the batch: splice, decode, resize, flip.

This is the way of the images that the fused decoder does not take, and of all images until it is compiled. All work
that takes time runs without the GIL: the splice and the resize in numba, decoding in libjpeg-turbo (simplejpeg). An
image that libjpeg-turbo rejects (a PNG named .JPEG, CMYK, damage that Pillow tolerates) is decoded by Pillow, as in the
other loaders.
"""

from collections.abc import Sequence
from threading import local

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from ...prep import SampleError
from ...prep.archives import npy
from ...prep.base.compiled import compiled
from ...prep.images.opening import UNREADABLE, out_of_memory
from ..spec import LoaderSpec
from ..support.encoded import EncodedImage
from . import ready
from .cuts import Cut, cut_out, cut_pixels, jpeg_size
from .dct_scaling import resize_scaled
from .fused_calls import fit
from .reference import read_pixels
from .thin import RESAMPLING, is_thin, resize

U8 = npt.NDArray[np.uint8]

SCRATCH = 4 * 2**20  # bytes of reusable memory per thread for decoded pixels: an image of 1.4 megapixels

_thread = local()


def decode_into(row: U8, image: EncodedImage, draws: Sequence[float], spec: LoaderSpec) -> None:
    """Write one sample to ``row``, uint8 (H, W, 3) and contiguous, H = W = ``spec.image_size``.

    ``draws`` are the sample's numbers from ``draws_of``. Raises SampleError, whose message has no sample name, and
    OSError if there is no memory for it.
    """
    try:
        fit_into(row, *decode_crop(image, draws, spec))
    except ValueError:  # libjpeg-turbo rejects it
        row[:] = decode_by_pillow(image, draws, spec)
    except MemoryError as error:
        raise out_of_memory(image.data.tobytes()) from error


def decode_crop(image: EncodedImage, draws: Sequence[float], spec: LoaderSpec) -> tuple[U8, Cut]:
    """Return the pixels of a cut, uint8 (h, w, 3) at 1 / ``cut.scale``, and the cut.

    The pixels are in this thread's memory, and the next call overwrites them; those of a raw image are where it lies.
    Raises ValueError for an image that libjpeg-turbo rejects, and for a raw one of another size than its header says,
    SampleError for tiles that are not where the index says.
    """
    if image.tiles is None and (raw := npy.pixels_of(image.data)) is not None:
        height, width, _ = raw.shape
        return raw, cut_pixels(width, height, draws, spec)
    cut = cut_out(image, draws, spec)
    width, height = (-(-length // cut.scale) for length in cut.size)
    return _decode(cut.data, width, height), cut


def fit_into(row: U8, pixels: U8, cut: Cut) -> None:
    """Resize what ``decode_crop`` returned to ``row``, uint8 (H, W, 3) and contiguous; mirror it if ``cut.flip``."""
    if ready.usable() and fit(pixels, cut, row):
        return
    if cut.scale > 1:
        resize_scaled(pixels, cut.scale, cut.box, cut.target, cut.offset, row)
        if cut.flip:
            mirror(row)
    else:
        resize_by_pillow(pixels, cut, row)


def decode_whole(image: EncodedImage, spec: LoaderSpec) -> U8:
    """Return the image as it is decoded, uint8 (H, W, 3), in memory of its own. Raises what ``decode_into`` raises."""
    try:
        jpeg_size(image.data)  # refuses a file that is too large
        return simplejpeg.decode_jpeg(image.data, "RGB")
    except ValueError:  # libjpeg-turbo rejects it
        return decode_by_pillow(image, (), spec)
    except MemoryError as error:
        raise out_of_memory(image.data.tobytes()) from error


def decode_by_pillow(image: EncodedImage, draws: Sequence[float], spec: LoaderSpec) -> U8:
    """Return the sample, uint8 (H, W, 3), of an image that ``decode_crop`` rejects.

    Raises SampleError, and OSError if there is no memory for it.
    """
    try:
        return read_pixels(image.data.tobytes(), draws, spec)
    except OSError as error:
        if error.errno is not None:
            raise
        raise SampleError(str(error)) from error
    except UNREADABLE as error:
        raise SampleError(str(error)) from error


def _decode(data: U8, width: int, height: int) -> U8:
    """Return a JPEG's pixels, uint8 (height, width, 3), at the JPEG's size or at 1/2, 1/4 or 1/8 of it."""
    size = width * height * 3
    if size > SCRATCH:
        return simplejpeg.decode_jpeg(data, "RGB", min_width=width, min_height=height)
    # New memory would cost a page fault per 4 kB, up to a tenth of the decoding time.
    scratch: U8 | None = getattr(_thread, "scratch", None)
    if scratch is None:
        scratch = _thread.scratch = np.empty(SCRATCH, np.uint8)
    return simplejpeg.decode_jpeg(data, "RGB", min_width=width, min_height=height, buffer=scratch[:size])


def resize_by_pillow(pixels: U8, cut: Cut, row: U8) -> None:
    """Do what ``fit`` does without compiled functions: bit for bit, or in evaluation of thin images within 2 levels.

    Pillow chooses which direction it resizes first. Since Pillow 13 that is the vertical one if it shrinks most.
    """
    left, top, width, height = cut.box
    image = Image.fromarray(pixels).crop((left, top, left + width, top + height))
    if is_thin(cut.target, len(row)):
        resized = np.asarray(resize(image, cut.target, cut.offset, len(row), cut.interpolation, rows_first=True))
        row[:] = resized[:, ::-1] if cut.flip else resized
        return
    image = image.resize((cut.target[0], height), RESAMPLING[cut.interpolation])
    image = image.resize(cut.target, RESAMPLING[cut.interpolation])
    x, y = cut.offset
    resized = np.asarray(image)[y : y + len(row), x : x + len(row)]
    row[:] = resized[:, ::-1] if cut.flip else resized


@compiled
def mirror(pixels: U8) -> None:
    """Mirror uint8 (H, W, 3) left to right, in place, with unsigned indexes, whose loops numba makes faster."""
    height, width, _ = pixels.shape
    kept = np.empty((width, 3), np.uint8)
    last = np.uint64(width - 1)
    for y in range(height):
        row = pixels[y]
        kept[:] = row
        for x in range(width):
            here = np.uint64(x)
            for channel in range(3):
                row[here, channel] = kept[last - here, channel]
