"""torchdata's nodes, as its guide builds a DataLoader from them: sampler, batcher, parallel mapper, prefetcher."""

# pyright: reportMissingImports=false
# The library is installed in this peer's own environment, and not where the code is checked.

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import RandomSampler, default_collate
from torchdata.nodes import Batcher, Loader, Mapper, ParallelMapper, Prefetcher, SamplerWrapper

from ....loaders import LoaderSpec
from ....prep.images.opening import FORMATS
from ....prep.roots.samples import Sample
from .crops import crop_and_flip
from .epochs import Item, PeerEpochs, each_epoch


class _Load:
    """Loads the batch of some indexes; a class, so that it can be sent to worker processes."""

    def __init__(self, samples: Sequence[Sample], size: int) -> None:
        self._samples = samples
        self._crop = crop_and_flip(size)

    def __call__(self, indexes: list[int]) -> Item:
        return default_collate([(self._image(index), self._samples[index].label, index) for index in indexes])

    def _image(self, index: int) -> torch.Tensor:
        with Image.open(self._samples[index].path, formats=FORMATS) as image:
            return self._crop(image.convert("RGB"))


def open_peer(spec: LoaderSpec, samples: Sequence[Sample], place: Path) -> PeerEpochs:
    """Return the epochs of the images' files."""
    sampler = SamplerWrapper(RandomSampler(range(len(samples))))
    batches = Batcher(sampler, spec.batch_size, drop_last=False)
    load = _Load(samples, spec.side)
    if spec.workers == 0:
        last = Mapper(batches, load)
    else:
        last = Prefetcher(ParallelMapper(batches, load, num_workers=spec.workers, method="process"), prefetch_factor=2)
    loader = Loader(last)
    return each_epoch(loader)
