"""From an undecoded picture straight into its row of the batch: splice, decode, resize, flip.

Everything that takes time runs without the GIL: the splice and the flip in numba, decoding in libjpeg-turbo
(simplejpeg), the antialiased resize in torch, which writes into the batch itself. What libjpeg-turbo does not take
(a PNG named .JPEG, CMYK, damage that Pillow tolerates) goes the way of the other loaders, through Pillow.
"""

from collections.abc import Sequence
from io import BytesIO
from threading import local

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from PIL import Image

from ..prep import SampleError
from ..prep.compiled import compiled
from ..prep.splice import splice_rows
from .base import LoaderSpec
from .crops import eval_offset, eval_size, train_crop
from .encoded import EncodedPicture
from .pixels import UNREADABLE, read_pixels

U8 = npt.NDArray[np.uint8]

SCRATCH = 4 * 2**20  # bytes of decoded pixels that a thread keeps ready: a picture of 1.4 megapixels

_thread = local()


def decode_into(row: torch.Tensor, picture: EncodedPicture, draws: Sequence[float], spec: LoaderSpec) -> None:
    """Write one sample to ``row``, uint8 (H, W, 3) and contiguous, H = W = ``spec.image_size``.

    ``draws`` are the sample's numbers of ``draws_of``. Raises SampleError without the sample's name.
    """
    try:
        if spec.transform == "train":
            fit_into(row, *decode_crop(picture, draws))
        else:
            _eval(row, picture, spec.image_size)
    except ValueError:  # libjpeg-turbo will not have it
        try:
            row.copy_(torch.from_numpy(read_pixels(BytesIO(picture.data.tobytes()), draws, spec)))
        except UNREADABLE as error:
            raise SampleError(str(error)) from error


def decode_crop(picture: EncodedPicture, draws: Sequence[float]) -> tuple[U8, bool]:
    """Return the pixels of a train crop, uint8 (h, w, 3), and whether they shall be mirrored.

    The pixels lie in memory of this thread that the next call uses again. Raises ValueError for what libjpeg-turbo
    does not take, SampleError for tiles that are not where the index says.
    """
    data, tiles = picture
    if tiles is None:
        width, height = _size(data)
        left, top, crop_width, crop_height, flip = train_crop(draws, width, height)
    else:
        width, height = tiles.width, tiles.height
        crop = left, top, crop_width, crop_height, flip = train_crop(draws, width, height)
        data, left, top = splice_rows(data, *tiles, *crop[:4])
        if not len(data):
            raise SampleError(
                "its tiles are not where the index says; rebuild it with: feedline shard --index-only DIR"
            )
    return _decode(data)[top : top + crop_height, left : left + crop_width], flip


def fit_into(row: torch.Tensor, pixels: U8, flip: bool) -> None:
    """Resize ``pixels``, uint8 (h, w, 3), to ``row``, uint8 (H, W, 3) and contiguous, and mirror it on request."""
    _resize(pixels, row)
    if flip:
        mirror(row.numpy())


def _eval(row: torch.Tensor, picture: EncodedPicture, size: int) -> None:
    pixels = _decode(picture.data)
    width, height = eval_size(pixels.shape[1], pixels.shape[0], size)
    resized = torch.empty((height, width, 3), dtype=torch.uint8)
    _resize(pixels, resized)
    left, top = eval_offset(width, size), eval_offset(height, size)
    row.copy_(resized[top : top + size, left : left + size])


def _decode(data: U8) -> U8:
    """Return a JPEG's pixels, uint8 (H, W, 3), in memory of this thread that the next call uses again."""
    width, height = _size(data)
    size = width * height * 3
    if size > SCRATCH:
        return simplejpeg.decode_jpeg(data, "RGB")
    # Fresh memory would cost a page fault per 4 kB, as much as a tenth of the decoding.
    scratch: U8 | None = getattr(_thread, "scratch", None)
    if scratch is None:
        scratch = _thread.scratch = np.empty(SCRATCH, np.uint8)
    return simplejpeg.decode_jpeg(data, "RGB", buffer=scratch[:size])


def _size(data: U8) -> tuple[int, int]:
    height, width = map(int, simplejpeg.decode_jpeg_header(data)[:2])
    # A header may claim 65,535 x 65,535 pixels, 13 GB; Pillow, which gets the picture next, refuses it by name.
    if Image.MAX_IMAGE_PIXELS and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"{width} x {height} pixels")
    return width, height


def _resize(pixels: U8, out: torch.Tensor) -> None:
    """Resize uint8 (h, w, 3) to ``out`` uint8 (H, W, 3): bilinear, antialiased, as torchvision on uint8 tensors."""
    height, width, _ = out.shape
    source = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    target = out.permute(2, 0, 1)[None]
    # The public torch.nn.functional.interpolate calls this too, but cannot write into the batch.
    torch._C._nn._upsample_bilinear2d_aa(source, [height, width], False, None, None, out=target)  # pyright: ignore


@compiled
def mirror(pixels: U8) -> None:
    """Mirror uint8 (H, W, 3) left to right, in place."""
    height, width, _ = pixels.shape
    for y in range(height):
        row = pixels[y]
        for x in range(width // 2):
            other = width - 1 - x
            for channel in range(3):
                kept = row[x, channel]
                row[x, channel] = row[other, channel]
                row[other, channel] = kept
