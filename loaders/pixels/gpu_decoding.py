"""Decoding on the GPU: nvJPEG decodes a batch of cuts, and torch crops, resizes and mirrors them there.

Only the compressed tiles of the crop are copied to the device, a tenth of the size of its pixels. nvJPEG decodes JPEGs
in YCbCr, which nearly every photograph is. The other images (greyscale, CMYK, PNG, files that libjpeg-turbo rejects, in
evaluation also images that are much longer than wide) and the images that nvJPEG rejects are decoded on the CPU. The
code does not depend on nvJPEG: with a decoder that runs on the CPU, it makes the same samples there. It is tested that
way without a GPU.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import simplejpeg
import torch
from torch.nn.functional import interpolate

from ...prep import LoaderUnavailable
from ..spec import LoaderSpec
from ..support.damage import log
from ..support.encoded import EncodedImage
from .cuts import Cut, cut_out
from .reference import without_exif
from .thin import is_thin

Decoder = Callable[[list[torch.Tensor]], list[torch.Tensor]]
"""Returns RGB images, each uint8 (3, h, w) on the decoder's device, for JPEGs, each uint8 (bytes,) on the CPU.

Raises RuntimeError if it rejects one of them."""


def nvjpeg(device: str) -> Decoder:
    """Return torchcodec's nvJPEG decoder for a CUDA device. Raises LoaderUnavailable without torchcodec."""
    try:
        from torchcodec.decoders import decode_jpeg  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError) as error:  # its libraries may not match torch's
        raise LoaderUnavailable(
            "decode 'gpu' needs torchcodec; install it with: pip install 'feedline[gpu]'"
        ) from error

    def decode(jpegs: list[torch.Tensor]) -> list[torch.Tensor]:
        # The hardware decoder of an H100 was observed to write into memory that work launched before still reads
        # (torchcodec pull request 1634). So that work must have ended; it is only the work of this stream.
        torch.cuda.current_stream(torch.device(device)).synchronize()
        return decode_jpeg(jpegs, mode="RGB", device=device)

    return decode


def cut_for_gpu(image: EncodedImage, draws: Sequence[float], spec: LoaderSpec) -> Cut | None:
    """Return the cut of a sample, or None if the CPU must decode it. Raises SampleError as ``cut_out`` does."""
    try:
        cut = cut_out(image, draws, spec)
        colours = simplejpeg.decode_jpeg_header(cut.data)[2]
    except ValueError:
        return None
    return cut if colours == "YCbCr" and not is_thin(cut.target, spec.side) else None


def decode_cuts(cuts: Sequence[Cut], size: int, decoder: Decoder) -> list[torch.Tensor | None]:
    """Return the samples, each uint8 (size, size, 3) on the decoder's device, or None for an image that it rejects."""
    # torchcodec rotates as EXIF says, which no loader here does. A splice has no EXIF.
    jpegs = [torch.frombuffer(bytearray(without_exif(cut.data.tobytes())), dtype=torch.uint8) for cut in cuts]
    images = _decode(jpegs, decoder)
    return [None if image is None else _fit(image, cut, size) for image, cut in zip(images, cuts, strict=True)]


def _decode(jpegs: list[torch.Tensor], decoder: Decoder) -> Sequence[torch.Tensor | None]:
    """Decode all JPEGs at once, or each on its own if the batch is rejected: the error does not name the image."""
    try:
        return decoder(jpegs)
    except RuntimeError as error:
        if len(jpegs) == 1:
            return [None]
        images = [image for jpeg in jpegs for image in _decode([jpeg], decoder)]
        if not any(image is not None for image in images):
            _warn_once(str(error).partition("\n")[0])
        return images


@lru_cache(maxsize=1)
def _warn_once(reason: str) -> None:
    """Warn that the GPU decodes nothing, so that it is not mistaken for a slow one."""
    log.warning("the GPU decoded no image of a batch; the CPU decodes them instead: %s", reason)


def _fit(image: torch.Tensor, cut: Cut, size: int) -> torch.Tensor:
    left, top, width, height = cut.box
    resized = image[None, :, top : top + height, left : left + width].float()
    steps = [(cut.target[1], cut.target[0])]
    if cut.interpolation == "bicubic":  # it overshoots, and Pillow clips between the two directions
        steps.insert(0, (height, cut.target[0]))
    for step in steps:
        resized = interpolate(resized, step, mode=cut.interpolation, antialias=True).clamp(0, 255)
    x, y = cut.offset
    sample = resized[0, :, y : y + size, x : x + size].round().byte()
    return (sample.flip(-1) if cut.flip else sample).permute(1, 2, 0)
