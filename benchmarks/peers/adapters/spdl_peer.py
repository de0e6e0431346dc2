"""SPDL as in its image example: a pipeline of threads, FFmpeg decoding, cropping and scaling in one filter graph.

SPDL has no random crop, so the boxes are drawn by feedline's own code. FFmpeg rounds a box to whole chroma pixels.
Its scaler widens its bilinear filter when it shrinks an image, which is antialiasing.
"""

# pyright: reportMissingImports=false
# The library is installed in this peer's own environment, and not where the code is checked.

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import spdl.io
import torch
from spdl.pipeline import PipelineBuilder

from ....loaders import LoaderSpec
from ....loaders.pixels.crops import draw_crops, train_crop
from ....prep import permutation
from ....prep.roots.samples import Sample
from .epochs import Item, PeerEpochs

AHEAD = 3  # batches that wait in the sink


class _Decoded(NamedTuple):
    frames: Any
    label: int
    at: int


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return SPDL's epochs over the images' files."""

    def begin(epoch: int) -> Iterator[Item]:
        draws = draw_crops(np.arange(len(samples)), seed=spec.seed, epoch=epoch)

        def decode(index: int) -> _Decoded:
            sample = samples[index]
            packets = spdl.io.demux_image(str(sample.path))
            crop = train_crop(draws[index].tolist(), packets.width, packets.height)
            return _Decoded(spdl.io.decode_packets(packets, _graph(crop, spec.side)), sample.label, index)

        pipeline = (
            PipelineBuilder()
            .add_source(permutation(len(samples), spec.seed, epoch).tolist())
            .pipe(decode, concurrency=spec.workers)
            .aggregate(spec.batch_size)
            .pipe(_collate)
            .add_sink(AHEAD)
            .build(num_threads=spec.workers)
        )
        with pipeline.auto_stop():
            yield from pipeline

    return PeerEpochs(begin)


def _graph(crop: Any, size: int) -> str:
    flip = "hflip," if crop.flip else ""
    box = f"crop={crop.width}:{crop.height}:{crop.left}:{crop.top}"
    return f"{box},scale={size}:{size}:flags=bilinear,{flip}format=rgb24"


def _collate(decoded: list[_Decoded]) -> Item:
    images: torch.Tensor = spdl.io.to_torch(spdl.io.convert_frames([one.frames for one in decoded]))
    return images, torch.tensor([one.label for one in decoded]), torch.tensor([one.at for one in decoded])
