"""All images as one uint8 tensor in memory, cropped with torch: what a user of small images would write in a page.

There are two ways. ``tensor`` crops and resizes image by image, with torch's compiled resize of uint8, in a thread for
each worker. ``tensor-batched`` samples the crops and flips of a whole batch with one ``grid_sample``, which computes in
floats; its workers are torch's threads. Both hold the pixels of all images in memory, so all images must have one size.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

from ....loaders import LoaderSpec
from ....prep import MeasurementError
from ....prep.images.opening import open_image
from ....prep.images.rgb import rgb_of
from ....prep.roots.samples import Sample
from .epochs import Item, PeerEpochs

FILE = "pixels.npy"
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
TRIES = 10  # of a crop, as torchvision's RandomResizedCrop has


def convert(samples: Sequence[Sample], place: Path, batched: bool = False) -> None:
    """Write ``place/pixels.npy``, uint8 (N, H, W, 3). Raises MeasurementError unless all images have one size."""
    height, width = _pixels(samples[0]).shape[:2]
    shape = (len(samples), height, width, 3)
    array = np.lib.format.open_memmap(place / FILE, "w+", np.uint8, shape)
    for row, sample in zip(array, samples, strict=True):
        pixels = _pixels(sample)
        if pixels.shape != row.shape:
            raise MeasurementError(
                f"one tensor holds images of one size, and {samples[0].path} and {sample.path} have "
                f"{width} x {height} and {pixels.shape[1]} x {pixels.shape[0]} pixels; measure it on images of one size"
            )
        row[:] = pixels
    array.flush()


def _pixels(sample: Sample) -> np.ndarray:
    return np.asarray(rgb_of(open_image(sample.path.read_bytes())))


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path, batched: bool = False) -> PeerEpochs:
    """Return epochs over the pixels in memory."""
    pixels = torch.from_numpy(np.load(place / FILE)).permute(0, 3, 1, 2)  # (N, 3, H, W) in channels_last
    labels = torch.tensor([sample.label for sample in samples])
    generator = torch.Generator().manual_seed(spec.seed)
    torch.set_num_threads(spec.workers if batched else 1)

    def begin(epoch: int) -> Iterator[Item]:
        with ThreadPoolExecutor(spec.workers) as threads:
            for indexes in torch.randperm(len(pixels), generator=generator).split(spec.batch_size):
                boxes, flips = _draw(len(indexes), pixels.shape[2], pixels.shape[3], generator)
                if batched:
                    images = _sample_batch(pixels[indexes], boxes, flips, spec.side)
                else:
                    images = _sample_each(pixels, indexes, boxes, flips, spec.side, threads, spec.workers)
                yield images.permute(0, 2, 3, 1), labels[indexes], indexes

    return PeerEpochs(begin)


def _draw(count: int, height: int, width: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return boxes, float32 (4, count) of left, top, width and height, and flips, bool (count,)."""
    numbers = torch.rand(2, count, TRIES, generator=generator)
    area = height * width * (SCALE[0] + (SCALE[1] - SCALE[0]) * numbers[0])
    ratio = torch.exp(math.log(RATIO[0]) + (math.log(RATIO[1]) - math.log(RATIO[0])) * numbers[1])
    widths, heights = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = ((widths <= width) & (heights <= height)).float().argmax(1, keepdim=True)  # the first try that fits
    widths = widths.gather(1, fits)[:, 0].clamp(1, width).round()
    heights = heights.gather(1, fits)[:, 0].clamp(1, height).round()
    left, top, flips = torch.rand(3, count, generator=generator)
    left, top = (left * (width - widths + 1)).floor(), (top * (height - heights + 1)).floor()
    return torch.stack([left, top, widths, heights]), flips < 0.5


def _sample_batch(pixels: torch.Tensor, boxes: torch.Tensor, flips: torch.Tensor, size: int) -> torch.Tensor:
    height, width = pixels.shape[2:]
    left, top, widths, heights = boxes
    theta = torch.zeros(len(pixels), 2, 3)
    theta[:, 0, 0] = widths / width * torch.where(flips, -1, 1)
    theta[:, 0, 2] = (2 * left + widths) / width - 1
    theta[:, 1, 1] = heights / height
    theta[:, 1, 2] = (2 * top + heights) / height - 1
    grid = affine_grid(theta, [len(pixels), 3, size, size], align_corners=False)
    sampled = grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    return sampled.round_().to(torch.uint8).contiguous(memory_format=torch.channels_last)


def _sample_each(
    pixels: torch.Tensor,
    indexes: torch.Tensor,
    boxes: torch.Tensor,
    flips: torch.Tensor,
    size: int,
    threads: ThreadPoolExecutor,
    workers: int,
) -> torch.Tensor:
    images = torch.empty(len(indexes), 3, size, size, dtype=torch.uint8, memory_format=torch.channels_last)
    places, crops, flipped = indexes.tolist(), boxes.int().T.tolist(), flips.tolist()

    def fill(first: int) -> None:
        for row in range(first, len(places), workers):
            left, top, width, height = crops[row]
            crop = pixels[places[row], None, :, top : top + height, left : left + width]
            image = interpolate(crop, (size, size), mode="bilinear", antialias=True)[0]
            images[row] = image.flip(2) if flipped[row] else image

    list(threads.map(fill, range(workers)))
    return images
