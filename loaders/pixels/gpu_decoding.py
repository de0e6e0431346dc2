"""JPEGs to samples on the GPU: nvJPEG decodes a batch of cuts, torch crops, resizes and mirrors them there.

What travels to the device is the compressed tiles of the crop, a tenth of its pixels. nvJPEG takes what nearly every
photograph is: a JPEG in YCbCr. The rest (greyscale, CMYK, PNG, what libjpeg-turbo does not know) and what nvJPEG
refuses is decoded on the CPU as ever. None of this depends on the decoder being nvJPEG: given one that runs on the
CPU, the same code makes the same samples there, which is how it is tested where there is no GPU.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import simplejpeg
import torch
from torch.nn.functional import interpolate

from ...prep import LoaderUnavailable
from ..base import LoaderSpec
from ..support.damage import log
from ..support.encoded import EncodedImage
from .cuts import Cut, cut_out
from .reference import without_exif

Decoder = Callable[[list[torch.Tensor]], list[torch.Tensor]]
"""From JPEGs, each uint8 (bytes,) on the CPU, to RGB images, each uint8 (3, h, w) on the decoder's device.

Raises RuntimeError when it refuses one of them."""


def nvjpeg(device: str) -> Decoder:
    """Return torchcodec's nvJPEG decoder for a CUDA device; raise LoaderUnavailable without torchcodec."""
    try:
        from torchcodec.decoders import decode_jpeg  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError) as error:  # its libraries may not fit torch's
        raise LoaderUnavailable(
            "decode 'gpu' needs torchcodec; install it with: pip install 'feedline[gpu]'"
        ) from error

    def decode(jpegs: list[torch.Tensor]) -> list[torch.Tensor]:
        # The hardware decoder of an H100 was seen to write into memory that work launched before still reads
        # (torchcodec pull request 1634). So that work has to be over; it is only that of our own stream.
        torch.cuda.current_stream(torch.device(device)).synchronize()
        return decode_jpeg(jpegs, mode="RGB", device=device)

    return decode


def cut_for_gpu(image: EncodedImage, draws: Sequence[float], spec: LoaderSpec) -> Cut | None:
    """Return the cut of a sample, or None for what is left to the CPU. Raises SampleError as ``cut_out`` does."""
    try:
        cut = cut_out(image, draws, spec)
        colours = simplejpeg.decode_jpeg_header(cut.data)[2]
    except ValueError:
        return None
    return cut if colours == "YCbCr" else None


def decode_cuts(cuts: Sequence[Cut], size: int, decoder: Decoder) -> list[torch.Tensor | None]:
    """Return the samples, each uint8 (size, size, 3) on the decoder's device; None for what it refuses."""
    # torchcodec rotates as EXIF says, which no loader here does; a splice has no EXIF any more.
    jpegs = [torch.frombuffer(bytearray(without_exif(cut.data.tobytes())), dtype=torch.uint8) for cut in cuts]
    images = _decode(jpegs, decoder)
    return [None if image is None else _fit(image, cut, size) for image, cut in zip(images, cuts, strict=True)]


def _decode(jpegs: list[torch.Tensor], decoder: Decoder) -> Sequence[torch.Tensor | None]:
    """Decode at once; a batch that is refused does not tell which image it was, so then each on its own."""
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
    """Say that the GPU is of no use, so that it is not mistaken for a slow one."""
    log.warning("the GPU decoded no image of a batch, the CPU does instead: %s", reason)


def _fit(image: torch.Tensor, cut: Cut, size: int) -> torch.Tensor:
    left, top, width, height = cut.box
    box = image[None, :, top : top + height, left : left + width].float()
    resized = interpolate(box, (cut.target[1], cut.target[0]), mode="bilinear", antialias=True)
    x, y = cut.offset
    sample = resized[0, :, y : y + size, x : x + size].round().clamp(0, 255).byte()
    return (sample.flip(-1) if cut.flip else sample).permute(1, 2, 0)
